"""K answers to a prompt with places or scores, as data sets list them."""

from collections.abc import Mapping, Sequence
from typing import Any

from trivium.core.types import Message, Preference
from trivium.text.records.questions import question
from trivium.text.records.ranks import is_number, ranked, ranks_of_groups, ranks_of_scores
from trivium.text.rows import Row, type_name

_SCORES = ("scores", "rewards", "rewards_armorm")


def responses(row: Row) -> Preference:
    """`responses` with a ranking (groups of indices, best first; a group is a tie), with scores (higher is better), or two with `prob`.

    prob: how probable it is that the first one is better, which stays in `meta`.

    Scores are numbers or, as Magpie lists those of its reward model (Xu et al. 2024, arXiv:2406.08464), objects with a `score`.
    """
    values = row.values
    if not isinstance(values["responses"], list) or len(values["responses"]) < 2:
        row.fail("'responses' must be a list of at least two texts")
    texts = [row.check_text(item, f"responses[{index}]") for index, item in enumerate(values["responses"])]
    scored = next((field for field in _SCORES if field in values), None)
    if len(texts) == 2 and "ranking" not in values and scored is None and is_number(values.get("prob")):
        prompt, used = question(row)
        prob = float(values["prob"])
        return ranked(prompt, texts, ranks_of_scores(row, [prob, 1 - prob], 2, "prob"), row.rest(*used, "responses"))
    if ("ranking" in values) == (scored is not None):
        row.fail(f"'responses' needs either 'ranking' or 'scores' (found: {', '.join(values)})")
    prompt, used = question(row)
    if scored is None:
        return ranked(prompt, texts, ranks_of_groups(row, values["ranking"], len(texts)), row.rest(*used, "responses", "ranking"))
    scores = values[scored]
    if isinstance(scores, list):
        scores = [score.get("score") if isinstance(score, dict) else score for score in scores]
    ranks = ranks_of_scores(row, scores, len(texts), scored)
    return ranked(prompt, texts, ranks, {**row.rest(*used, "responses", scored), "scores": scores})


def completions(row: Row) -> Preference:
    """UltraFeedback as published (Cui et al. 2023, arXiv:2310.01377): `completions` of several models, judged by GPT-4.

    The score is the first that every completion has: `overall_score`, `fine-grained_score`, `score`, the mean of the ratings in
    `annotations`. Their system prompts differ, so they are not part of the prompt.
    """
    found = _objects(row, "completions", ("response",))
    texts = [row.check_text(item["response"], f"completions[{index}].response") for index, item in enumerate(found)]
    scores = _scores(row, found)
    prompt, used = question(row)
    ranks = ranks_of_scores(row, scores, len(texts))
    return ranked(prompt, texts, ranks, {**row.rest(*used, "completions"), "scores": scores})


def summaries(row: Row) -> Preference:
    """Comparisons of summarize-from-feedback (Stiennon et al. 2020, arXiv:2009.01325): `info`, `summaries` and `choice`.

    The query is that of the paper, "SUBREDDIT: r/...", "TITLE: ...", "POST: ...", "TL;DR:" (of a news article the article and "TL;DR:").
    Difference: a long post is not cut to 512 tokens, because tokens are not known here.
    """
    found = _objects(row, "summaries", ("text",))
    texts = [row.check_text(item["text"], f"summaries[{index}].text") for index, item in enumerate(found)]
    choice = row.values.get("choice")
    if type(choice) is not int or not 0 <= choice < len(texts):
        row.fail(f"'choice' is {choice!r}; the index of the better summary is expected, from 0 to {len(texts) - 1}")
    info = row.values.get("info")
    if not isinstance(info, Mapping):
        row.fail(f"'info' is {type_name(info)}; an object with post, title and subreddit is expected")
    prompt = Message("user", _query(row, info))
    ranks = [int(index != choice) for index in range(len(texts))]
    policies = {"policies": [item["policy"] for item in found]} if all("policy" in item for item in found) else {}
    return ranked((prompt,), texts, ranks, {**row.rest("summaries", "choice"), **policies})


def is_judged(row: Row) -> bool:
    """Whether the row has a question and solutions that were checked."""
    return "question" in row.values and any(map(_is_solution, row.values.values()))


def judged(row: Row) -> Preference:
    """Solutions to a question, right above wrong (GSM8K: Cobbe et al. 2021, arXiv:2110.14168): for each model {solution, is_correct}."""
    found = {name: value for name, value in row.values.items() if _is_solution(value)}
    texts, ranks = [], []
    for name, value in found.items():
        texts.append(row.check_text(value["solution"], f"{name}.solution"))
        if not isinstance(value["is_correct"], bool):
            row.fail(f"'{name}.is_correct' is {type_name(value['is_correct'])}; true or false is expected")
        ranks.append(int(not value["is_correct"]))
    prompt, used = question(row)
    return ranked(prompt, texts, ranks, {**row.rest(*used, *found), "models": list(found)})


def _is_solution(value: Any) -> bool:
    return isinstance(value, dict) and "solution" in value and "is_correct" in value


def _objects(row: Row, field: str, needed: Sequence[str]) -> list[Mapping[str, Any]]:
    value = row.values[field]
    if not isinstance(value, list) or len(value) < 2:
        row.fail(f"'{field}' must be a list of at least two objects")
    for index, item in enumerate(value):
        if not isinstance(item, dict):
            row.fail(f"'{field}[{index}]' is {type_name(item)}; an object with {' and '.join(needed)} is expected")
        for name in needed:
            if name not in item:
                row.fail(f"'{field}[{index}].{name}' is missing (found: {', '.join(item) or 'nothing'})")
    return value


def _scores(row: Row, found: Sequence[Mapping[str, Any]]) -> list[float]:
    for field in ("overall_score", "fine-grained_score", "score"):
        scores = [item[field] for item in found if is_number(item.get(field))]
        if len(scores) == len(found):
            return scores
    means = [_mean_rating(item.get("annotations")) for item in found]
    if None in means:
        row.fail(f"'completions[{means.index(None)}]' has no score: a number in overall_score, or ratings in annotations")
    return [mean for mean in means if mean is not None]


def _mean_rating(annotations: Any) -> float | None:
    """Mean of the ratings of all aspects; one that the judge left out ("N/A") does not count."""
    aspects = annotations.values() if isinstance(annotations, Mapping) else []
    stated = [str(aspect.get("Rating")) for aspect in aspects if isinstance(aspect, Mapping)]
    ratings = [int(rating) for rating in stated if rating.isascii() and rating.isdigit() and len(rating) == 1]
    return sum(ratings) / len(ratings) if ratings else None


def _query(row: Row, info: Mapping[str, Any]) -> str:
    if info.get("post") is None and info.get("article") is not None:
        return f"{row.check_text(info['article'], 'info.article')}\n\nTL;DR:"
    named = {}
    for field in ("subreddit", "title", "post"):
        if field not in info:
            row.fail(f"'info.{field}' is missing (found: {', '.join(info) or 'nothing'})")
        named[field] = row.check_text(info[field], f"info.{field}")
    return f"SUBREDDIT: r/{named['subreddit']}\n\nTITLE: {named['title']}\n\nPOST: {named['post']}\n\nTL;DR:"
