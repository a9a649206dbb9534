"""Check rankings against published ones: `python -m scripts.check_ranking FOLDER`, a minute.

FOLDER holds AlpacaEval's `alpaca_eval_matrix.csv.gz`, `alpaca_eval_outputs.jsonl.gz` and `alpaca_eval_2_leaderboard.csv`. Win rates, raw
and with lengths taken out, are compared with the leaderboard's, which are of 805 prompts where the files have 630; strengths with those of
choix and evalica (`pip install choix evalica`) on matches that the matrix implies between models; who is flagged as an attack is told.
Prints one line for each check and the verdict; exit code 1 if one of them fails.
"""

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from trivium.core.types import Match
from trivium.report.correlation import spearman
from trivium.score.ranking import MatchTable, flags, tabulate, win_rates
from trivium.score.ranking.strengths import data_of, fit
from trivium.text.read import read_matches

Result = tuple[bool, str]  # whether it is right, and what was found
MATRIX, OUTPUTS, BOARD = "alpaca_eval_matrix.csv.gz", "alpaca_eval_outputs.jsonl.gz", "alpaca_eval_2_leaderboard.csv"
ATTACK = "NullModel"
RAW_POINTS, CONTROLLED_POINTS, LEAST_RHO = 0.5, 2.0, 0.95  # mean differences; of 630 of 805 prompts .3 or .4 come by chance
TOLERANCE = 1e-6
PLAYERS, PROMPTS = 12, 100  # of the matches that other packages rank too: choix works through each in Python


def published(board: Path) -> dict[str, tuple[float, float]]:
    """(raw, length-controlled) win rate in per cent by model, which is named by the folder that its answers lie in."""
    found = {}
    with board.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found[Path(row["samples"]).parent.name] = (float(row["win_rate"]), float(row["length_controlled_winrate"]))
    return found


def near(name: str, ours: Mapping[str, float], theirs: Mapping[str, float], points: float) -> Result:
    """Whether the models that both have lie together, on average and in their order."""
    shared = sorted(ours.keys() & theirs.keys())
    if len(shared) < 3:
        return False, f"{name}: only {len(shared)} models are in both"
    apart = float(np.mean([abs(ours[model] - theirs[model]) for model in shared]))
    farthest = max(shared, key=lambda model: abs(ours[model] - theirs[model]))
    rho, _ = spearman([ours[model] for model in shared], [theirs[model] for model in shared])
    return apart <= points and rho >= LEAST_RHO, (
        f"{name} of {len(shared)} models: {apart:.2f} points apart on average (at most {points:g}), {farthest} the most with"
        f" {ours[farthest]:.2f} and {theirs[farthest]:.2f} published; rank correlation {rho:.3f} (at least {LEAST_RHO:g})"
    )


def implied(table: MatchTable, *, players: int = PLAYERS, prompts: int = PROMPTS) -> list[Match]:
    """On each prompt a match between every two of the first models by name: the judge's score against the baseline says who won."""
    rivals = np.where(table.first_N == table.number(table.baseline or ""), table.second_N, table.first_N)
    score_N = np.where(rivals == table.first_N, table.score_N, 1 - table.score_N)
    chosen = [number for number, model in enumerate(table.models) if model not in (table.baseline, ATTACK)][:players]
    scores: dict[int, dict[int, float]] = {}
    for rival, prompt, score in zip(rivals.tolist(), table.prompt_N.tolist(), score_N.tolist(), strict=True):
        if rival in chosen and prompt < prompts:
            scores.setdefault(prompt, {})[rival] = score
    return [
        Match((table.models[a], table.models[b]), 0.5 + 0.5 * float(np.sign(known[a] - known[b])))
        for known in scores.values() for a, b in combinations(sorted(known), 2)
    ]  # fmt: skip


def beside_others(matches: Sequence[Match]) -> list[Result]:
    """Strengths beside those of choix, which knows no draws, and of evalica, to which a draw is half a win."""
    import choix
    import evalica

    decided, every = tabulate([match for match in matches if match.score != 0.5]), tabulate(matches)
    wins = [
        (int(a), int(b)) if score else (int(b), int(a))
        for a, b, score in zip(decided.first_N, decided.second_N, decided.score_N, strict=True)
    ]
    theirs = choix.opt_pairwise(decided.num_models, wins, alpha=0, method="Newton-CG", tol=1e-12)
    winner = {1.0: evalica.Winner.X, 0.0: evalica.Winner.Y, 0.5: evalica.Winner.Draw}
    columns = (every.first_N.tolist(), every.second_N.tolist(), [winner[score] for score in every.score_N.tolist()])
    others = np.log(evalica.bradley_terry(*columns, tolerance=1e-14, limit=100_000).scores.sort_index().to_numpy())
    return [_same("choix", decided, np.asarray(theirs)), _same("evalica", every, others)]


def _same(name: str, table: MatchTable, theirs_M: np.ndarray) -> Result:
    found = fit(data_of(table.first_N, table.second_N, table.score_N, table.num_models)).weights_MD[:, 0]
    apart = float(np.abs(found - (theirs_M - theirs_M.mean())).max())
    return apart < TOLERANCE, f"Bradley-Terry of {table.num_models} models, {len(table):,} matches: at most {apart:.1e} from {name}"


def flagged(table: MatchTable) -> Result:
    """Whether the attack is flagged, and nobody else."""
    found = flags(table)
    return [flag.model for flag in found] == [ATTACK], "flagged: " + (
        "; ".join(f"{flag.model} {flag.reason}" for flag in found) or "nobody"
    )


def checks(folder: Path) -> list[Result]:
    """All of them."""
    known = published(folder / BOARD)
    matrix, outputs = (tabulate(read_matches(str(folder / name))) for name in (MATRIX, OUTPUTS))
    raw, controlled = ({model: pair[place] for model, pair in known.items()} for place in (0, 1))
    rates = {rate.model: rate.raw for rate in win_rates(matrix, matrix.baseline or "")}
    equal = {rate.model: rate.controlled for rate in win_rates(outputs, outputs.baseline or "") if rate.controlled is not None}
    return [
        near("win rates", rates, raw, RAW_POINTS),
        near("win rates at equal lengths", equal, controlled, CONTROLLED_POINTS),
        flagged(matrix),
        *beside_others(implied(matrix)),
    ]


def main(words: Sequence[str] | None = None) -> int:
    """Check, tell; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(words).folder
    if not (folder / BOARD).is_file():
        parser.error(f"{folder}: is no folder with {BOARD} in it")
    results = checks(folder)
    for is_right, said in results:
        print(f"{'right' if is_right else 'WRONG'}  {said}")
    failed = sum(not is_right for is_right, _ in results)
    print(f"VERDICT: {f'{failed} of {len(results)} are wrong' if failed else 'all right'}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
