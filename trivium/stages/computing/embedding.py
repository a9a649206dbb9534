"""Prompts as a model of ours reads them: the mean of its hidden states over the prompt's tokens; and how it scores names of models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from trivium.core.run import Run
from trivium.core.types import Example, Message, example
from trivium.data.pack import pack
from trivium.nn.outputs import Outputs
from trivium.score.routing.features import hashed_words
from trivium.stages.computing.models import Speaker, say_what_is_slower

ROWS, MOST_TOKENS = 16, 512  # the beginning of a longer prompt is read
Turns = tuple[Message, ...]


def embedded(run: Run, model: str, prompts: Sequence[Turns]) -> np.ndarray:
    """Raw features of prompts, (P, R): hidden states, or hashed words where no model is named. Costs a forward pass over the prompts."""
    if not model:
        return hashed_words(prompts)
    speaker = Speaker.of(run, model)
    say_what_is_slower(run, speaker.model)
    return mean_states(speaker, prompts)


def mean_states(speaker: Speaker, prompts: Sequence[Turns]) -> np.ndarray:
    """The mean of the last hidden states over each prompt's tokens, (P, D) float32; a prompt is read in its chat format."""
    longest = min(MOST_TOKENS, speaker.model.config.max_seq_len)
    items = [example(speaker.prompt(prompt)[:longest]) for prompt in prompts]
    found: list[np.ndarray] = []
    with torch.no_grad():
        for batch in pack([(item,) for item in items], rows=ROWS, length=longest):
            there = batch.to(speaker.model.device)
            hidden_TD = Outputs(speaker.model, there).hidden_BLD.flatten(0, 1).float()
            total_ND = hidden_TD.new_zeros(there.num_sequences + 1, hidden_TD.shape[1]).index_add(0, there.sequence_BL.flatten(), hidden_TD)
            size_N = torch.bincount(there.sequence_BL.flatten(), minlength=there.num_sequences + 1)
            found.append((total_ND[:-1] / size_N[:-1, None]).cpu().numpy())
    return np.concatenate(found)


def name_scores(run: Run, model: str, prompts: Sequence[Turns], names: Sequence[str]) -> np.ndarray:
    """What a reward model thinks of each name as the answer to each prompt, (P, M)."""
    judge = Speaker.judge_of(run, model)
    say_what_is_slower(run, judge.model)
    longest = judge.model.config.max_seq_len
    answers = [_answer(judge, prompt, name, longest) for prompt in prompts for name in names]
    return judge.scores(answers, rows=ROWS, length=max(len(answer.tokens) for answer in answers)).reshape(len(prompts), len(names))


def _answer(judge: Speaker, prompt: Turns, name: str, longest: int) -> Example:
    """The name as an answer; of a prompt that is too long the beginning is read, half of it and half again."""
    answer = judge.answer(prompt, name)
    while len(answer.tokens) > longest and any(turn.content for turn in prompt):
        prompt = tuple(Message(turn.role, turn.content[: len(turn.content) // 2]) for turn in prompt)
        answer = judge.answer(prompt, name)
    return answer
