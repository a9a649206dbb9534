"""Models that win by something other than answering: the same text whatever is asked, or results that do not follow the prompts.

A judge can be taken in by one constant answer (Zheng et al. 2024, arXiv:2410.07137: it wins 77 % of AlpacaEval 2). Its text gives it
away; where there are no texts, its scores do: what is hard for the baseline's rivals on a prompt is hard for an honest model too, so
the scores of honest models rise and fall together over prompts, and those of a constant answer do not.
"""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from trivium.report.correlation import correlation, ranks
from trivium.score.ranking.table import MatchTable

SAME_SHARE = 0.5  # of its answers that are one text, which nobody else gives there
MIN_PROMPTS, MIN_PEERS = 30, 5
OUTLYING = 3.5  # robust deviations below the other models (Iglewicz and Hoaglin 1993, "How to Detect and Handle Outliers")


@dataclass(frozen=True, slots=True)
class Flag:
    """A model that is not ranked with the others, and why."""

    model: str
    reason: str


def flags(table: MatchTable) -> list[Flag]:
    """Models that look like attacks on the judge, in order of their names."""
    found = {**_by_scores(table), **_by_answers(table)}
    return [Flag(model, found[model]) for model in sorted(found)]


def _by_answers(table: MatchTable) -> dict[str, str]:
    """Models with one text for most prompts. Where another model gives it too it does not count: 'yes' may be what was asked for."""
    texts: dict[int, dict[int, str]] = {}
    for first, second, prompt, pair in zip(table.first_N, table.second_N, table.prompt_N.tolist(), table.answers, strict=True):
        for model, text in zip((int(first), int(second)), pair or (), strict=False):
            texts.setdefault(model, {})[prompt] = " ".join(text.split())
    found = {}
    for model, by_prompt in texts.items():
        [(top, _)] = Counter(by_prompt.values()).most_common(1)
        others = [answers for other, answers in texts.items() if other != model]
        alone = sum(text == top and all(answers.get(prompt) != text for answers in others) for prompt, text in by_prompt.items())
        if len(by_prompt) >= MIN_PEERS and alone > SAME_SHARE * len(by_prompt):
            found[table.models[model]] = f"gave the same answer to {alone:,} of {len(by_prompt):,} prompts, as no other model did"
    return found


def _by_scores(table: MatchTable) -> dict[str, str]:
    """Models that win at least as often as the median and whose scores do not follow those of the others, far below what is usual."""
    follow = followed(table)
    known = {model: (r, won, n) for model, (r, won, n) in follow.items() if n >= MIN_PROMPTS}
    if len(known) <= MIN_PEERS:
        return {}
    z = {model: math.atanh(min(max(r, -0.999999), 0.999999)) for model, (r, _, _) in known.items()}
    middle = float(np.median(list(z.values())))
    spread = 1.4826 * float(np.median(np.abs(np.array(list(z.values())) - middle)))
    usual = float(np.median([won for _, won, _ in known.values()]))
    found = {}
    for model, (r, won, n) in known.items():
        is_far = z[model] < middle - OUTLYING * max(spread, 1 / math.sqrt(n - 3))  # not less than what chance alone makes
        if is_far and won > usual:
            found[table.models[model]] = (
                f"wins {won:.0%}, but not where others do: over {n:,} prompts its scores go with theirs at r = {r:.2f}"
                f" (the median model: {math.tanh(middle):.2f}), as those of one constant answer would"
            )
    return found


def followed(table: MatchTable) -> dict[int, tuple[float, float, int]]:
    """model -> the rank correlation of its scores over prompts with the mean of the others' there, its mean score, and the prompts.

    Only matches against the one model that stands in all of them say how hard a prompt is; without one there is nothing to compare.
    """
    if table.baseline is None:
        return {}
    baseline = table.number(table.baseline)
    flipped = table.first_N == baseline
    model_N = np.where(flipped, table.second_N, table.first_N)
    score_PM = np.full((table.num_prompts, table.num_models), np.nan)
    score_PM[table.prompt_N, model_N] = np.where(flipped, 1 - table.score_N, table.score_N)
    found = {}
    for model in np.unique(model_N).tolist():
        others_PX = np.delete(score_PM, [model, baseline], axis=1)
        there = ~np.isnan(score_PM[:, model]) & (~np.isnan(others_PX)).any(1)
        own_P, mean_P = score_PM[there, model], np.nanmean(others_PX[there], axis=1) if there.any() else np.zeros(0)
        if len(own_P) > 3:
            found[model] = (correlation(ranks(own_P), ranks(mean_P)), float(own_P.mean()), len(own_P))
    return found
