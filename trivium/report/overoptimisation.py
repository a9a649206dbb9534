"""The reward that was optimised beside the reward that was meant, against the step and against the distance from the reference.

Gao, Schulman, Hilton 2022, arXiv:2210.10760, fig. 1: the proxy goes on rising while the true reward turns. Difference: the axis is KL, not
its square root, and the points are those of one run, not of many.
"""

from collections.abc import Mapping

from trivium.report.html import Html, element, figure, join, muted, words
from trivium.report.reading import Record, Series
from trivium.report.scale import is_drawable
from trivium.report.smoothing import bin_means, smooth
from trivium.report.svg import Line, line_chart

_REWARDS = ("reward", "true_reward")
_NAMES = {"reward": "reward model", "true_reward": "true reward"}
_MOST_RATIO = 4  # beyond it one of two lines on one axis is flat


def overoptimisation(record: Record) -> Html:
    """Two charts for every stage that recorded a reward and a KL."""
    stages = [stage for stage in record.stages if {"reward", "kl"} <= record.curves.get(stage, {}).keys()]
    if not stages:
        return muted("Left out: no stage recorded both 'reward' and 'kl' in metrics.jsonl.")
    explained = (
        "The policy is trained on the reward model. Where its reward goes on rising while the true reward does not, "
        "the policy has learned the model's errors (over-optimisation)."
    )
    return join([element("p", explained), *(_stage(words(stage), record.curves[stage]) for stage in stages)])


def _stage(stage: str, series: Mapping[str, Series]) -> Html:
    names = [name for name in _REWARDS if name in series]
    groups = [names] if len(names) == 1 or _share_an_axis(series) else [[name] for name in names]
    charts = [_against_step(stage, group, series) for group in groups] + [_against_kl(stage, group, series) for group in groups]
    missing = [] if len(names) == 2 else [muted(f"{stage}: no true reward was recorded, so only the reward model's is drawn.")]
    return join([element("div", *charts, class_="charts large"), *missing])


def _against_step(stage: str, names: list[str], series: Mapping[str, Series]) -> Html:
    lines = [Line(_NAMES[name], smooth(series[name]), raw=series[name]) for name in names]
    return _figure(stage, names, "step", lines)


def _against_kl(stage: str, names: list[str], series: Mapping[str, Series]) -> Html:
    kl_at = dict(series["kl"])
    clouds = [[(kl_at[step], value) for step, value in series[name] if step in kl_at] for name in names]
    lines = [Line(_NAMES[name], bin_means(cloud), raw=cloud, is_cloud=True) for name, cloud in zip(names, clouds, strict=True)]
    return _figure(stage, names, "KL to the reference", lines)


def _figure(stage: str, names: list[str], x_name: str, lines: list[Line]) -> Html:
    title = f"{' and '.join(_NAMES[name] for name in names)} against {x_name}"
    shown = title if len(names) == 1 else f"rewards against {x_name}"
    return figure(shown, stage, line_chart(title, lines, x_name=x_name))


def _share_an_axis(series: Mapping[str, Series]) -> bool:
    """Whether both rewards can be read on one axis: neither is flat beside the range of the two together."""
    values = [[y for _, y in series[name] if is_drawable(y)] for name in _REWARDS]
    if not all(values):
        return True
    spans = [max(part) - min(part) for part in values]
    together = max(map(max, values)) - min(map(min, values))
    return together <= _MOST_RATIO * min(spans)
