"""Pairs of answers and what a judge says of them by the principles of a constitution, many prompts at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from trivium.core.run import Run
from trivium.core.types import Message
from trivium.generate.engine import Engine
from trivium.generate.sampling import Sampling
from trivium.score.choice import Question, among
from trivium.score.rewards import LLMJudge, RewardRule, Said, checked
from trivium.score.rewards.llm_judge import OpenJudge
from trivium.stages.computing.answering import Prompt, looked_at, measured, prompts_of
from trivium.stages.computing.choosing import ROWS, THINK, Chooser, chooser_of, rules_of
from trivium.stages.computing.models import Speaker, engine_of
from trivium.stages.pieces import Rows, in_pieces
from trivium.synth.constitution import Constitution, Principle, read_constitution
from trivium.synth.feedback import OPTIONS, Comparison, in_both_orders, label, question
from trivium.synth.judge import ByModel, usual_lowest
from trivium.synth.simulated import Simulated
from trivium.text.write import plain_turns

if TYPE_CHECKING:
    from trivium.stages.feedback import Feedback

KIND = "compared answers"
Judge = Callable[[Sequence[Comparison]], Sequence[float | None]]  # how probable it is that the answer shown first is better


@dataclass(frozen=True, slots=True)
class ModelJudges:
    """A model of ours as a judge; None for a comparison in which it does not choose. engine: speaks for it, if it thinks first."""

    options: ByModel
    chooser: Chooser
    engine: Engine | None
    constitution: Constitution
    seed: int
    stage: str

    def __call__(self, comparisons: Sequence[Comparison]) -> list[float | None]:
        """A probability for each."""
        questions = [self._question(each) for each in comparisons]
        if self.engine is not None:
            names = [principle.name for principle in self.constitution.principles]
            numbers = [(each.number * len(names) + names.index(each.principle.name)) * 2 + each.is_swapped for each in comparisons]
            sampling = Sampling(max_new_tokens=self.options.think_tokens)
            questions = self.chooser.thinking(
                self.engine, questions, sampling, seed=self.seed, purpose=f"{self.stage} judge", numbers=numbers
            )
        probs_NK, mass_N = among(self.chooser(questions, OPTIONS))
        has_chosen = (mass_N >= self.options.min_mass).tolist()
        return [prob if chosen else None for prob, chosen in zip(probs_NK[:, 0].tolist(), has_chosen, strict=True)]

    def check_room(self, prompts: Iterable[Prompt], answer_tokens: int) -> None:
        """Raise DataError if a question with two answers of so many tokens may be too long for the judge.

        Text that is no UTF-8, or that another tokenizer wrote, may have more tokens when the judge reads it; then that says so.
        """

        def length(prompt: tuple[Message, ...], principle: Principle) -> int:
            asked = self._question(Comparison(prompt, "", "", principle, 0))
            thought = f"{THINK} \n\n" if self.engine else ""
            return len(self.chooser.prompt(replace(asked, opening=thought + asked.opening)))

        longest = max(self.constitution.principles, key=lambda principle: length((), principle))
        most = max(length(prompt.messages, longest) for prompt in prompts)
        self.chooser.check_room(most + 2 * answer_tokens + self.options.think_tokens, OPTIONS)

    def _question(self, comparison: Comparison) -> Question:
        return question(comparison, self.constitution, reasons=THINK if self.engine else "")


def judge_of(options: Feedback, run: Run, constitution: Constitution) -> Judge:
    """The judge of a run, ready."""
    judge = options.judge
    if isinstance(judge, Simulated):
        return lambda comparisons: [judge.prefers_first(each, seed=run.seed, purpose=f"{run.stage} judge") for each in comparisons]
    if isinstance(judge, LLMJudge):
        asked = "The answer holds two answers, (A) and (B). {} Say A or B."
        judges = {
            principle.name: replace(judge, criteria=asked.format(principle.comparison), choices=("A", "B")).open(run.seed, run.log_once)
            for principle in constitution.principles
        }
        return lambda comparisons: _from_endpoint(judges, comparisons)
    chooser = chooser_of(run)(judge.model)
    engine = engine_of(run, chooser.speaker, rows=ROWS) if judge.think_tokens else None
    return ModelJudges(judge, chooser, engine, constitution, run.seed, run.stage)


def _from_endpoint(judges: Mapping[str, OpenJudge], comparisons: Sequence[Comparison]) -> list[float | None]:
    """1 or 0 for each: a judge behind an endpoint, opened for each principle, only says which. Raises the error of the last attempt."""
    found: list[float | None] = [None] * len(comparisons)
    for name, judge in judges.items():
        mine = [place for place, each in enumerate(comparisons) if each.principle.name == name]
        said = [Said(comparisons[i].prompt, f"(A)\n{comparisons[i].first}\n\n(B)\n{comparisons[i].second}", True, {}) for i in mine]
        for place, score in zip(mine, judge(said), strict=True):
            found[place] = score
    return found


def compare(options: Feedback, run: Run) -> Rows:
    """Answer every prompt twice and judge the answers; a row a prompt {prompt, responses, stopped, principles, orders, prob, first_place}.

    orders: by principle, the probability of the answer shown first, in either order. prob: the label, None if there is none. first_place:
    what the answer shown first got on average. scores: of both answers by the rules, if there are any. Raises DataError if there is no
    prompt, or one has no room for an answer.
    """
    constitution = read_constitution(options.constitution)
    run.log(constitution.told(options.constitution))
    speaker = Speaker.of(run, options.model)
    prompts = looked_at(prompts_of(run, options.prompts), options.rewards)
    total, _ = measured(prompts, lambda each: speaker.prompt(each.messages), speaker.model.config.max_seq_len)
    engine, judge = engine_of(run, speaker, rows=options.rows), judge_of(options, run, constitution)
    if isinstance(judge, ModelJudges):
        judge.check_room(prompts_of(run, options.prompts), options.sampling.max_new_tokens)
    rules = rules_of(run, options.rewards)
    lowest = usual_lowest(options.judge) if options.lowest is None else options.lowest

    def make(first: int, part: Sequence[Prompt], on_done: Callable[[int], None]) -> list[dict[str, Any]]:
        prompts = [ids for each in part for ids in [speaker.prompt(each.messages)] * 2]
        answers = engine.generate(
            prompts, options.sampling, seed=run.seed, purpose=run.stage, numbers=range(2 * first, 2 * (first + len(part)))
        )
        on_done(2 * len(part))
        texts = [(speaker.text_of(answer).strip(), bool(answer.meta["stopped"])) for answer in answers]
        asked = [
            [Comparison(prompt.messages, texts[2 * i][0], texts[2 * i + 1][0], principle, first + i) for principle in principles]
            for i, prompt in enumerate(part)
            for principles in [constitution.different(run.seed, f"principles of {run.stage}", first + i, options.principles)]
        ]
        rows = _labelled(asked, judge, lowest)
        for i, (prompt, row) in enumerate(zip(part, rows, strict=True)):
            both = texts[2 * i : 2 * i + 2]
            row |= {"prompt": plain_turns(prompt.messages), "responses": [text for text, _ in both], "stopped": [end for _, end in both]}
            if rules:
                row["scores"] = _scores(rules, [Said(prompt.messages, text, end, prompt.fields) for text, end in both])
        return rows

    return in_pieces(run, prompts_of(run, options.prompts), make, total=total, size=options.rows, kind=KIND, steps=3)


def _labelled(asked: Sequence[Sequence[Comparison]], judge: Judge, lowest: float) -> list[dict[str, Any]]:
    """The labels of each pair. asked: its comparisons; of two equal answers nothing is asked."""
    flat = [each for comparisons in asked if comparisons[0].first != comparisons[0].second for each in comparisons]
    answers = iter(judge([order for each in flat for order in (each, each.swapped())]) if flat else ())
    rows: list[dict[str, Any]] = []
    for comparisons in asked:
        is_same = comparisons[0].first == comparisons[0].second
        orders = [] if is_same else [(next(answers), next(answers)) for _ in comparisons]
        read = [prob for pair in orders for prob in pair if None not in pair and prob is not None]
        rows.append({
            "principles": [each.principle.name for each in comparisons],
            "orders": orders,
            "prob": label([in_both_orders(*pair) for pair in orders], lowest),
            "first_place": sum(read) / len(read) if read else None,
        })  # fmt: skip
    return rows


def _scores(rules: Sequence[RewardRule], answers: Sequence[Said]) -> list[float]:
    return np.sum([rule.weight * np.array(checked(rule, answers)) for rule in rules], axis=0).tolist()
