"""What routers are worth on held-out prompts: predictions, gap recovered, shares and prices, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trivium.core.errors import DataError
from trivium.score.ranking.table import MatchTable
from trivium.score.ranking.ties import sigmoid
from trivium.score.routing.costs import cost_curve, costs_of, expected_worth
from trivium.score.routing.gain import TARGETS, Worth, sent, threshold, worth
from trivium.score.routing.prediction import predicted, quality_of, verdict
from trivium.stages.base import result_row

QUANTILES = 101
JUDGED = "preference"  # whom the sentence is about: named before, since the best of several looks good by chance


@dataclass(frozen=True, slots=True)
class Asked:
    """What is measured: held-out matches, the two models that routing is between ("" where there are more), the share wanted, prices."""

    test: MatchTable
    strong: str
    weak: str
    share: float
    costs: Mapping[str, float]
    seed: int


def measured(asked: Asked, strengths: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """For each router what it predicts and what it is worth; the oracle beside them. strengths: router -> (P, M), 'random' among them."""
    test, quality_PM = asked.test, quality_of(asked.test)
    predictions = {kind: predicted(test, strength_PM, strengths["random"]) for kind, strength_PM in strengths.items()}
    found: dict[str, Any] = {"routers": {}, "oracle": None, "quality": None}
    known, gain_P = _gain(asked, quality_PM)
    worths: dict[str, Worth] = {}
    strong, weak = (test.number(name) if name else 0 for name in (asked.strong, asked.weak))
    if gain_P is not None:
        found["oracle"] = asdict(worth(gain_P, gain_P, seed=asked.seed))
        found["quality"] = {asked.strong: float(quality_PM[known, strong].mean()), asked.weak: float(quality_PM[known, weak].mean())}
    for kind, strength_PM in strengths.items():
        spent = _spent(asked, strength_PM, quality_PM)
        one: dict[str, Any] = {"prediction": asdict(predictions[kind]), "worth": None, "score_quantiles": [], "spent": spent}
        if gain_P is not None:
            score_P = sigmoid(strength_PM[:, strong] - strength_PM[:, weak])
            worths[kind] = worth(score_P[known], gain_P, seed=asked.seed)
            one["worth"] = asdict(worths[kind])
            one["share"] = None if kind == "random" else _share(score_P, asked.share)
            one["score_quantiles"] = np.quantile(score_P, np.linspace(0, 1, QUANTILES), method="higher").tolist()
        found["routers"][kind] = one
    found["ranked"] = sorted(strengths, key=lambda kind: (-worths[kind].apgr if worths else 0.0, predictions[kind].log_loss[0]))
    found["verdict"] = verdict(JUDGED, predictions[JUDGED]) if JUDGED in predictions else ""
    found["share"] = asked.share
    return found


def results(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the held-out table, a column a router."""
    rows = []
    for kind, one in found["routers"].items():
        named = {"accuracy": one["prediction"]["accuracy"], "log_loss": one["prediction"]["log_loss"]}
        if one["worth"]:
            named |= _worths(one["worth"])
        rows += [
            result_row(kind, name, interval, one["prediction"]["prompts"]) for name, interval in named.items() if np.isfinite(interval[0])
        ]
    if found["oracle"]:
        rows += [result_row("oracle", name, interval, rows[0]["n"]) for name, interval in _worths(found["oracle"]).items()]
    return rows


def verdict_of(found: Mapping[str, Any], published: Sequence[Mapping[str, Any]] = ()) -> list[str]:
    """The table with published figures below it, and the sentence, for the log. published: rows of published_routers.toml."""
    lines = []
    for kind in found["ranked"]:
        one = found["routers"][kind]
        accuracy, gain = one["prediction"]["accuracy"], one["prediction"]["gain"]
        line = f"{kind:<15} accuracy {accuracy[0]:.3f} [{accuracy[1]:.3f}, {accuracy[2]:.3f}]  nats gained {gain[0]:+.3f}"
        lines.append(line + (f"  {_worths_text(one['worth'])}" if one["worth"] else ""))
    if found["oracle"]:
        lines.append(f"{'oracle':<15} {_worths_text(found['oracle'])}")
        lines += [f"published: {_published_text(row)}" for row in published]
    return [*lines, found["verdict"]] if found["verdict"] else lines


def _worths_text(one: Mapping[str, Any]) -> str:
    return "  ".join(f"{name} {value:.3f} [{low:.3f}, {high:.3f}]" for name, (value, low, high) in _worths(one).items())


def _published_text(row: Mapping[str, Any]) -> str:
    """CPT as a share of calls, as ours is; the paper has it in per cent."""
    cpt = (f"  cpt_{target} {row[f'cpt_{target}'] / 100:.3f}" for target in (50, 80) if f"cpt_{target}" in row)
    return f"{row['router']}, on {row['benchmark']}: apgr {row['apgr']:.3f}{''.join(cpt)} (other prompts and training data)"


def _gain(asked: Asked, quality_PM: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """The prompts on which both models were measured, and how much better the strong one was there. None without a pair."""
    if not asked.strong:
        return np.zeros(len(quality_PM), bool), None
    strong, weak = asked.test.number(asked.strong), asked.test.number(asked.weak)
    known = np.isfinite(quality_PM[:, strong]) & np.isfinite(quality_PM[:, weak])
    if not known.any():
        raise DataError(f"no held-out prompt has an answer of both {asked.strong} and {asked.weak}, so no gap can be measured")
    return known, quality_PM[known, strong] - quality_PM[known, weak]


def _share(score_P: np.ndarray, wanted: float) -> dict[str, float]:
    """A threshold from every second prompt, and the share that it sends of the others: how far a calibration carries."""
    cut = threshold(score_P[0::2], wanted)
    return {"wanted": wanted, "measured": sent(score_P[1::2], cut) if len(score_P) > 1 else float("nan")}


def _spent(asked: Asked, strength_PM: np.ndarray, quality_PM: np.ndarray) -> list[dict[str, Any]]:
    """Price and quality from the dearest to the cheapest way, on the prompts where every model was measured."""
    known = np.isfinite(quality_PM).all(1)
    if not asked.costs or not known.any():
        return []
    cost_M = costs_of(asked.test.models, asked.costs)
    return [asdict(point) for point in cost_curve(expected_worth(strength_PM[known]), quality_PM[known], cost_M)]


def _worths(one: Mapping[str, Any]) -> dict[str, tuple[float, float, float]]:
    cpt = zip(TARGETS, one["cpt"], one["cpt_low"], one["cpt_high"], strict=True)
    return {"apgr": (one["apgr"], one["apgr_low"], one["apgr_high"])} | {
        f"cpt_{100 * target:.0f}": (value, low, high) for target, value, low, high in cpt
    }
