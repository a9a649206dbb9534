"""Chains of critiques and revisions, many prompts at once: what a round adds to each of them.

A text depends on (seed, name of the stage, number of the prompt, round, weights).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from trivium.core.errors import DataError
from trivium.core.run import Run
from trivium.core.types import Message
from trivium.generate.engine import Engine
from trivium.generate.sampling import Sampling
from trivium.score.rewards import RewardRule, Said, checked
from trivium.score.rewards.opened import names_of
from trivium.stages.computing.answering import Prompt, looked_at, measured, prompts_of
from trivium.stages.computing.choosing import rules_of
from trivium.stages.computing.models import Speaker, engine_of
from trivium.stages.pieces import Rows, in_pieces
from trivium.synth.constitution import Constitution, read_constitution
from trivium.synth.revision import Chain, Label, Script, as_chat, as_transcript, examples, is_over, said, spoken
from trivium.synth.simulated import Simulated
from trivium.text.chat import start_ids
from trivium.text.write import plain_turns

if TYPE_CHECKING:
    from trivium.stages.critique import Critique

KIND = "chains of revisions"
Texts = list[tuple[str, bool]]  # what was said, and whether it ended by itself
# (chains, what randomness follows from) -> (critiques, revisions)
Reviser = Callable[[Sequence[Chain], Sequence[int]], tuple[list[str], Texts]]


@dataclass(frozen=True, slots=True)
class Writer:
    """A model that goes on with a script, as a chat or as a transcript."""

    speaker: Speaker
    engine: Engine
    sampling: Sampling
    form: Literal["chat", "transcript"]
    shown: Script
    seed: int
    stage: str

    def ids(self, prompt: Sequence[Message], script: Script, *, label: Label, shown: Script = ()) -> np.ndarray:
        """Up to where what `label` says begins; no text becomes a control token."""
        if self.form == "chat":
            return self.speaker.prompt(as_chat(prompt, shown, script))
        chat, tokenizer = self.speaker.chat, self.speaker.tokenizer
        start = np.array(start_ids(tokenizer, chat), np.int32)
        text = as_transcript(prompt, shown, script, label)
        return np.concatenate([start, tokenizer.encode_after("control" if len(start) else "nothing", text)])

    def write(self, prompts: Sequence[np.ndarray], numbers: Sequence[int], what: str) -> Texts:
        """What comes next of each. what: is said, which is part of what the draws depend on."""
        is_transcript = self.form == "transcript"
        answers = self.engine.generate(
            prompts, self.sampling, seed=self.seed, purpose=f"{self.stage} {what}", numbers=numbers,
            is_over=(lambda tokens: is_over(self.speaker.tokenizer.decode(tokens))) if is_transcript else None,
        )  # fmt: skip
        texts = [self.speaker.text_of(answer) for answer in answers]
        return [
            (spoken(text) if is_transcript else text.strip(), bool(answer.meta["stopped"]))
            for text, answer in zip(texts, answers, strict=True)
        ]

    def __call__(self, chains: Sequence[Chain], numbers: Sequence[int]) -> tuple[list[str], Texts]:
        """A critique and a revision of each."""
        asked = [self.ids(chain.prompt, chain.critique_script(), label="Critique", shown=self.shown) for chain in chains]
        critiques = [text for text, _ in self.write(asked, numbers, "critique")]
        asked = [
            self.ids(chain.prompt, chain.revision_script(text), label="Revision", shown=self.shown)
            for chain, text in zip(chains, critiques, strict=True)
        ]
        return critiques, self.write(asked, numbers, "revision")

    def longest(self, prompt: Prompt, constitution: Constitution) -> int:
        """Tokens of the longest that it may have to read and write of a prompt."""
        chains = [Chain(prompt.messages, "", principle) for principle in constitution.principles]
        return max(len(self.ids(prompt.messages, chain.revision_script(""), label="Revision", shown=self.shown)) for chain in chains) + (
            3 * self.sampling.max_new_tokens
        )


def simulated_reviser(reader: Simulated, run: Run) -> Reviser:
    """A simulated reader in the place of a model."""

    def revise(chains: Sequence[Chain], numbers: Sequence[int]) -> tuple[list[str], Texts]:
        critiques = [reader.critique(chain.response, chain.principle) for chain in chains]
        revisions = [
            reader.revision(chain.response, chain.principle, seed=run.seed, purpose=f"{run.stage} revision", number=number)
            for chain, number in zip(chains, numbers, strict=True)
        ]
        return critiques, [(text, True) for text in revisions]

    return revise


def revise(options: Critique, run: Run) -> Rows:
    """Answer every prompt and revise the answers; a row a prompt {prompt, response, stopped, rounds, scores}.

    rounds: of each {principle, critique, revision, stopped, is_taken, answer}; answer: as it is after the round. scores: of the answer and
    of each round, by the name of the measure. Raises DataError if there is no prompt, or one has no room for its chain.
    """
    constitution = read_constitution(options.constitution)
    run.log(constitution.told(options.constitution))
    answerer = _writer(options, run, options.model, constitution)
    prompts = looked_at(prompts_of(run, options.prompts), options.rewards)
    total, _ = measured(prompts, lambda each: _asked(answerer, each), answerer.speaker.model.config.max_seq_len)
    reviser: Reviser = answerer if not options.reviser else _writer(options, run, options.reviser, constitution)
    if options.simulated is not None:
        reviser = simulated_reviser(options.simulated, run)
    if isinstance(reviser, Writer):
        _check_room(options, run, reviser, constitution)
    rules = rules_of(run, options.rewards)

    def add_round(part: Sequence[Prompt], rows: Sequence[dict[str, Any]], first: int, place: int) -> None:
        now = [row["rounds"][-1]["answer"] if place else row["response"] for row in rows]
        drawn = (constitution.drawn(run.seed, f"principles of {run.stage}", first + i, options.rounds) for i in range(len(part)))
        chains = [Chain(prompt.messages, text, own[place]) for prompt, text, own in zip(part, now, drawn, strict=True)]
        numbers = [(first + number) * options.rounds + place for number in range(len(part))]
        for row, chain, critique, (text, stopped) in zip(rows, chains, *reviser(chains, numbers), strict=True):
            is_taken = stopped and bool(text)
            row["rounds"].append({
                "principle": chain.principle.name, "critique": critique, "revision": text, "stopped": stopped, "is_taken": is_taken,
                "answer": text if is_taken else chain.response,
            })  # fmt: skip

    def make(first: int, part: Sequence[Prompt], on_done: Callable[[int], None]) -> list[Mapping[str, Any]]:
        rows = _answered(answerer, part, first)
        for place in range(options.rounds):
            on_done((2 * place + 1) * len(part))
            add_round(part, rows, first, place)
        return [row | {"scores": _scores(options, rules, prompt, row)} for prompt, row in zip(part, rows, strict=True)]

    return in_pieces(run, prompts_of(run, options.prompts), make, total=total, size=options.rows, kind=KIND, steps=1 + 2 * options.rounds)


def _writer(options: Critique, run: Run, model: str, constitution: Constitution) -> Writer:
    speaker = Speaker.of(run, model)
    engine = engine_of(run, speaker, rows=options.rows)
    return Writer(speaker, engine, options.sampling, options.form, examples(constitution), run.seed, run.stage)


def _asked(writer: Writer, prompt: Prompt) -> np.ndarray:
    return writer.ids(prompt.messages, said(prompt.messages), label="Assistant")


def _check_room(options: Critique, run: Run, reviser: Writer, constitution: Constitution) -> None:
    reads = reviser.speaker.model.config.max_seq_len
    longest = max(reviser.longest(prompt, constitution) for prompt in prompts_of(run, options.prompts))
    if longest > reads:
        raise DataError(
            f"a prompt with its answer, critique and revision may have {longest:,} tokens, and the model reads {reads:,}; lower"
            " sampling.max_new_tokens, drop long prompts, or take a constitution with fewer examples"
        )


def _answered(writer: Writer, part: Sequence[Prompt], first: int) -> list[dict[str, Any]]:
    answers = writer.write([_asked(writer, prompt) for prompt in part], range(first, first + len(part)), "answer")
    return [
        {"prompt": plain_turns(prompt.messages), "response": text, "stopped": stopped, "rounds": []}
        for prompt, (text, stopped) in zip(part, answers, strict=True)
    ]


def _scores(options: Critique, rules: Sequence[RewardRule], prompt: Prompt, row: Mapping[str, Any]) -> list[dict[str, float]]:
    """What the rules say of the answer and of what it is after each round."""
    texts = [(row["response"], row["stopped"])]
    for each in row["rounds"]:
        texts.append((each["answer"], each["stopped"] if each["is_taken"] else texts[-1][1]))
    answers = [Said(prompt.messages, text, stopped, prompt.fields) for text, stopped in texts]
    found: list[dict[str, float]] = [{} for _ in answers]
    if options.truth is not None:
        for scores, each in zip(found, answers, strict=True):
            scores["true_score"] = options.truth(each.field("asked"), each.response, each.is_stopped)
    for name, rule in zip(names_of(rules), rules, strict=True):
        for scores, value in zip(found, checked(rule, answers), strict=True):
            scores[f"{name}_score"] = value
    return found
