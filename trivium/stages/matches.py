"""matches: who was better on which prompt, by our own judge or from files, split by prompt, for `rank`, `route` and `reward`."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain, combinations, zip_longest
from typing import Any, Literal

import numpy as np
from pydantic import Field

from trivium.core.config import Texts, component
from trivium.core.errors import ConfigError, DataError
from trivium.core.run import Run
from trivium.core.types import Match, Message
from trivium.score.ranking.leaderboard import heldout_prompts
from trivium.score.ranking.table import tabulate
from trivium.stages.base import Foresight, Work, check_data, commit_rows, resolve
from trivium.stages.selection import scored_table
from trivium.text.read import read_matches
from trivium.text.records import plain_match


@component
class Matches:
    """Leaves below `@matches/split`: train.jsonl and heldout.jsonl (matches), and of both pairs.jsonl and heldout_pairs.jsonl: those with
    a winner as preferences between the names of models, from which `reward` makes a router (docs/ranking.md).

    scored: name of a model -> the scored.jsonl that `sample` left of it, one or several, all of the same prompts and scored alike: of each
    two models the one wins whose answers score higher, as a share of all pairs of their answers. data: matches from files, or as well.
    heldout_share: of the prompts; which ones depends on the seed.
    """

    kind: Literal["matches"] = "matches"
    scored: dict[str, Texts] = Field(default_factory=dict)
    data: str = ""
    heldout_share: float = Field(default=0.25, ge=0, lt=1)

    def check(self) -> None:
        if not self.data and len(self.scored) < 2:
            raise ConfigError("give data=FILE with matches, or scored.NAME=FILE for at least two models")
        check_data(self.data or "@", "matches")

    def foresee(self, name: str, known: Foresight) -> Work:
        return Work(seconds=2.0)

    def run(self, run: Run) -> Mapping[str, Any]:
        found = [*(read_matches(resolve(run, self.data)) if self.data else ()), *self._judged(run)]
        table = tabulate(found)
        held_N = heldout_prompts(table, self.heldout_share, run.seed)[table.prompt_N].tolist()
        parts: dict[str, list[dict[str, Any]]] = {"train": [], "heldout": [], "pairs": [], "heldout_pairs": []}
        for match, is_held in zip(found, held_N, strict=True):
            parts["heldout" if is_held else "train"].append(plain_match(match))
            if match.prompt and match.score != 0.5:
                parts["heldout_pairs" if is_held else "pairs"].append(_pair(match))
        files = {f"{name}.jsonl": rows for name, rows in parts.items()}
        commit_rows(run.folder / "split", files, kind="matches", meta={"models": list(table.models)})
        draws = Counter(match.score == 0.5 for match in found)[True]
        run.log(
            f"{len(found):,} matches of {table.num_models} models on {table.num_prompts:,} prompts, {draws:,} draws;"
            f" {sum(held_N):,} held out"
        )
        return {"matches": len(found), "models": table.num_models, "prompts": table.num_prompts}

    def _judged(self, run: Run) -> Iterator[Match]:
        tables = [[scored_table(resolve(run, path)) for path in paths] for paths in self.scored.values()]
        nothing: Mapping[str, Any] = {}
        streams = (chain.from_iterable(table() for table in several) for several in tables)
        for number, rows in enumerate(zip_longest(*streams, fillvalue=nothing), start=1):
            if any(row.get("prompt") != rows[0].get("prompt") for row in rows):
                raise DataError(f"prompt {number:,} is not the same in all of scored; they must be of the same prompts, in one order")
            by_name = dict(zip(self.scored, rows, strict=True))
            prompt = tuple(Message(turn["role"], turn["content"]) for turn in rows[0]["prompt"])
            for a, b in combinations(by_name, 2):
                scores_a, scores_b = (np.array(by_name[name]["scores"], np.float64) for name in (a, b))
                apart = np.sign(scores_a[:, None] - scores_b[None])
                answers = by_name[a]["responses"][0], by_name[b]["responses"][0]
                yield Match((a, b), float((apart + 1).mean() / 2), prompt, answers, (float(scores_a.mean()), float(scores_b.mean())))


def _pair(match: Match) -> dict[str, Any]:
    """A preference between two names: who is better at answering this, and how likely."""
    better, worse = match.models if match.score > 0.5 else match.models[::-1]
    return {"prompt": plain_match(match)["prompt"], "chosen": better, "rejected": worse, "prob": max(match.score, 1 - match.score)}
