"""Rows to preferences: which shape a row has is told by its fields, and read by the file of that subject."""

from collections.abc import Callable

from trivium.core.types import Preference
from trivium.text.records import behaviour, pairs, rankings, trees, verdicts
from trivium.text.records.judgements import check_judgements
from trivium.text.records.matches import is_voted, voted
from trivium.text.rows import Row

# The first shape whose fields a row has.
_SHAPES: tuple[tuple[Callable[[Row], bool], Callable[[Row], Preference]], ...] = (
    (lambda row: "responses" in row.values, rankings.responses),
    (lambda row: "completions" in row.values, rankings.completions),
    (lambda row: "summaries" in row.values, rankings.summaries),
    (verdicts.is_pair, verdicts.pair),
    (rankings.is_judged, rankings.judged),
    (is_voted, voted),
    (behaviour.is_matching, behaviour.matching),
    (behaviour.is_graded, behaviour.graded),
)


def preferences(row: Row) -> list[Preference]:
    """The preferences of a row: one, or one for each model of a table, or for each message of a tree with two ranked replies or more.

    pairs: chosen + rejected, as texts, messages or transcripts (hh-rlhf), or several each | chosen_messages + rejected_messages.
    verdicts: two answers and what a judge says (AlpacaEval, Auto-J, JudgeBench, LLMBar, PandaLM, SHP) | outputs of many models against one.
    behaviour: an answer that matches a behaviour, and one that does not (model-written evaluations, HHH).
    matches: two models and their answers, and who won (`serve --votes`, `judge`).
    rankings: responses + ranking or scores | completions (UltraFeedback) | summaries (TL;DR) | solutions, right or wrong (GSM8K).
    Any of them may state how the answers were judged, see `check_judgements`.
    """
    found = _shaped(row)
    for each in found:
        check_judgements(row, each)
    return found


def is_preference(row: Row) -> bool:
    """Whether the row has the fields of a shape."""
    return trees.is_tree(row) or verdicts.is_table(row) or pairs.is_pair(row) or any(has(row) for has, _ in _SHAPES)


def _shaped(row: Row) -> list[Preference]:
    if trees.is_tree(row):
        return trees.preferences(row)
    if verdicts.is_table(row):
        return verdicts.table(row)
    return [next((read for has, read in _SHAPES if has(row)), pairs.pair)(row)]
