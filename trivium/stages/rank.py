"""rank: which model is better, from matches: Elo and Bradley-Terry with intervals, win rates against a baseline, attacks left out."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from pydantic import Field

from trivium.core.commit import commit_file
from trivium.core.config import Texts, component
from trivium.core.errors import ConfigError, DataError
from trivium.core.run import Run
from trivium.report.reading import RANKING
from trivium.score.ranking import Anchor, How, flags, heldout_accuracy, leaderboard
from trivium.score.ranking.style import Style
from trivium.score.ranking.table import tabulate
from trivium.score.ranking.ties import Ties
from trivium.score.ranking.uncertainty import Intervals, ties_of
from trivium.score.ranking.win_rate import win_rates
from trivium.stages.base import Foresight, Work, check_data, resolve
from trivium.text.read import read_matches

MEAN = 1000.0  # of ratings where no model is the anchor


@component
class Rank:
    """Leaves `@rank/ranking.json`, table.csv and results.json; a model that is flagged as an attack on the judge is not ranked.

    data: matches (model_a, model_b, winner), AlpacaEval's judgements or matrix, RouteLLM's outcomes: docs/ranking.md. ties: draws as half
    wins, or with a parameter of their own. control: rate models as if their answers were alike in length, headers, lists, bold.
    intervals: of ratings, by drawing prompts again (bootstrap), by the prompts' spread (sandwich), or as if the model were right. anchor:
    a model whose rating is anchor_rating; without it the mean is 1000. trust: models that are ranked although they were flagged.
    """

    kind: Literal["rank"] = "rank"
    data: str
    ties: Ties = "half"
    control: tuple[Style, ...] = ()
    intervals: Intervals = "bootstrap"
    resamples: int = Field(default=200, ge=20)
    anchor: str = ""
    anchor_rating: float = MEAN
    trust: Texts = ()

    def check(self) -> None:
        if self.anchor_rating != MEAN and not self.anchor:
            raise ConfigError(f"anchor_rating is {self.anchor_rating:g}, but of no model; name it: anchor=MODEL")
        check_data(self.data, "matches")

    def foresee(self, name: str, known: Foresight) -> Work:
        return Work(seconds=10.0)

    def run(self, run: Run) -> Mapping[str, Any]:
        table = tabulate(read_matches(resolve(run, self.data)))
        for model in self.trust:
            table.number(model)
        found = [flag for flag in flags(table) if flag.model not in self.trust]
        for flag in found:
            run.log(f"not ranked: {flag.model} {flag.reason}; trust={flag.model} ranks it")
        honest = table.without([flag.model for flag in found])
        if honest.num_models < 2:
            raise DataError(f"{self.data}: fewer than two models are left to rank")
        how = How(self.ties, self.control, self.intervals, Anchor(self.anchor, self.anchor_rating) if self.anchor else None, self.resamples)
        board = leaderboard(honest, how, seed=run.seed)
        baseline = table.baseline
        facts: dict[str, Any] = {
            "matches": len(honest), "models": honest.num_models, "prompts": sum(map(bool, honest.prompts)), "draws": ties_of(self.ties),
            "intervals": self.intervals, "anchor": self.anchor, "tie": board.tie, "is_separated": board.is_separated, "style": board.style,
            "baseline": baseline, "places": [asdict(place) for place in board.places],
            "win_rates": [asdict(rate) for rate in win_rates(table, baseline)] if baseline else [],
            "flagged": [asdict(flag) for flag in found], "heldout": [asdict(one) for one in heldout_accuracy(honest, how, seed=run.seed)],
        }  # fmt: skip
        run.leave(RANKING, facts)
        commit_file(run.folder / "table.csv", _csv(facts["places"]))
        run.leave("results.json", [{"stage": run.stage, **one} for one in facts["heldout"]])
        self._say(run, facts)
        return {"matches": len(table), "models": honest.num_models, "flagged": len(found)}

    def _say(self, run: Run, facts: Mapping[str, Any]) -> None:
        if facts["is_separated"]:
            run.log("some models won or lost every match, so their ratings have no bound; a weak prior holds them")
        for name, points in facts["style"].items():
            run.log(f"{name}: {points:+.0f} points for a deviation more of it")
        width = max(len(place["model"]) for place in facts["places"])
        run.log(f"{'rank':>4}  {'model':<{width}}  {'rating':>6}  {'95 % interval':<14}  {'Elo':>6}  {'won':>6}  matches")
        for place in facts["places"]:
            run.log(
                f"{place['rank']:>4}  {place['model']:<{width}}  {place['rating']:>6.0f}  [{place['low']:>5.0f}, {place['high']:>5.0f}]"
                f"  {place['elo']:>6.0f}  {place['score']:>6.1%}  {place['matches']:,}"
            )
        for rate in facts["win_rates"][:5]:
            controlled = "" if rate["controlled"] is None else f", {rate['controlled']:.2f} % at equal lengths"
            run.log(f"{rate['model']} beats {facts['baseline']} in {rate['raw']:.2f} % of {rate['matches']:,} matches{controlled}")
        for one in facts["heldout"]:
            run.log(f"{one['measure']} on held-out prompts {one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}], n {one['n']:,}")


def _csv(places: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, list(places[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(places)
    return text.getvalue()
