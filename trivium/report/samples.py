"""The same prompts answered by every model, side by side; on a phone below each other."""

from collections.abc import Mapping, Sequence

from trivium.report import units
from trivium.report.funnel import clip
from trivium.report.html import Html, details, element, join, muted, words
from trivium.report.measures import column_order
from trivium.report.reading import Record, Sample

_LONGEST = 1500
_MOST_OPEN = 8


def samples(record: Record) -> Html:
    """A block a prompt, a column a model, with the true score where there is one; beyond eight prompts the rest opens on a click."""
    if not record.samples:
        return muted("Left out: no stage of this run left a samples.json.")
    stages = column_order([sample.stage for sample in record.samples], record.stages)
    by_prompt: dict[str, dict[str, Sample]] = {}
    for sample in record.samples:
        by_prompt.setdefault(sample.prompt, {})[sample.stage] = sample
    blocks = [_prompt(prompt, answers, stages) for prompt, answers in by_prompt.items()]
    rest = [details(f"{len(blocks) - _MOST_OPEN} more prompts", *blocks[_MOST_OPEN:])] if blocks[_MOST_OPEN:] else []
    return join([*blocks[:_MOST_OPEN], *rest])


def _prompt(prompt: str, answers: Mapping[str, Sample], stages: Sequence[str]) -> Html:
    cells = (_answer(stage, answers.get(stage)) for stage in stages)
    return element("div", element("p", clip(prompt, _LONGEST)), element("div", *cells, class_="answers"), class_="asked")


def _answer(stage: str, sample: Sample | None) -> Html:
    if sample is None:
        return element("div", element("header", words(stage)), element("p", units.NONE), class_="answer")
    score = f"score {units.number(sample.score)}" if sample.score is not None else ""
    remarks = " · ".join(part for part in (score, "cut off" if sample.has_stopped is False else "") if part)
    head = element("header", element("b", words(stage)), element("span", remarks))
    return element("div", head, element("p", clip(sample.response, _LONGEST) if sample.response else "(empty)"), class_="answer")
