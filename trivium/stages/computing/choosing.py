"""A model of ours that is asked to choose among a few options: by its log-probs, after it has thought if it is to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trivium.core.errors import DataError
from trivium.core.run import Run
from trivium.generate.engine import Engine
from trivium.generate.sampling import Sampling
from trivium.score.choice import Question, exclusive
from trivium.score.rewards import AnyReward, RewardRule
from trivium.score.rewards.opened import opened
from trivium.stages.computing.models import Speaker, one_chat, say_what_is_slower
from trivium.train.choices import choice_logprobs

ROWS = 16  # that are read at once
THINK = "Let's think step by step:"


@dataclass(frozen=True, slots=True)
class Chooser:
    """A speaker that reads questions. name: what the user calls it."""

    speaker: Speaker
    name: str

    def __call__(self, questions: Sequence[Question], options: Sequence[str]) -> np.ndarray:
        """Log-probs of the options as they follow each question, none counted in another; (N, K). Raises DataError if one is too long."""
        ids = [self._option(option) for option in options]
        prompts = [self.prompt(question) for question in questions]
        longest = self.check_room(max(map(len, prompts)), options)
        return exclusive(choice_logprobs(self.speaker.model, prompts, ids, rows=ROWS, length=longest), [each.tolist() for each in ids])

    def check_room(self, tokens: int, options: Sequence[str]) -> int:
        """The tokens of so long a question with the longest option. Raises DataError if they are more than the model reads."""
        longest = tokens + max(len(self._option(option)) for option in options)
        reads = self.speaker.model.config.max_seq_len
        if longest > reads:
            raise DataError(
                f"{self.name}: reads {reads:,} tokens, but a question to it may have {longest:,}; lower sampling.max_new_tokens, drop long"
                " prompts, or take a judge with a longer context"
            )
        return longest

    def prompt(self, question: Question) -> np.ndarray:
        """Its ids up to where the option begins; whatever its text is, control tokens are those of the chat format alone."""
        return self.speaker.prompt(question.messages, question.opening)

    def _option(self, option: str) -> np.ndarray:
        return self.speaker.tokenizer.encode_after("text", option)  # which the opening is

    def thinking(
        self, engine: Engine, questions: Sequence[Question], sampling: Sampling, *, seed: int, purpose: str, numbers: Sequence[int]
    ) -> list[Question]:
        """The questions with what the model thinks of each before it says its opening (Kojima et al. 2022, arXiv:2205.11916).

        engine: of this speaker. The rest: see `Engine.generate`.
        """
        prompts = [self.prompt(replace(question, opening=THINK)) for question in questions]
        thoughts = engine.generate(prompts, sampling, seed=seed, purpose=purpose, numbers=numbers)
        texts = [self.speaker.text_of(thought).strip() for thought in thoughts]
        return [replace(question, opening=f"{THINK} {text}\n\n{question.opening}") for question, text in zip(questions, texts, strict=True)]


def chooser_of(run: Run) -> Callable[[str], Chooser]:
    """What loads a model by its reference, as one that chooses."""

    def load(reference: str) -> Chooser:
        speaker = one_chat(Speaker.of(run, reference))
        say_what_is_slower(run, speaker.model)
        return Chooser(speaker, reference)

    return load


def rules_of(run: Run, rewards: Sequence[AnyReward], records: Sequence[Mapping[str, Any]] = ()) -> list[RewardRule]:
    """The rules of a stage, ready. records: those of the prompts, where they are known before. Raises what `opened` does."""
    return opened(rewards, records, seed=run.seed, plugins=run.plugins, say=run.log_once, chooser=chooser_of(run))
