"""What fine-tuning is measured by on the way: the loss on held-out conversations, and a reward model's score of answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trivium.core.run import Run
from trivium.core.types import Example
from trivium.generate.engine import Engine
from trivium.generate.sampling import Sampling
from trivium.nn.model import Model
from trivium.stages.base import data_source
from trivium.stages.computing.models import Speaker, check_reader, check_room, engine_of, same_tokenizer
from trivium.text.read import read_prompts
from trivium.train.annotate import column_of, logprobs

if TYPE_CHECKING:
    from trivium.stages.finetune import ByReward

ENGINE_ROWS = 64  # answers at a time: a matter of speed and memory


@dataclass(frozen=True, slots=True)
class HeldoutLoss:
    """`heldout_loss` in nats a token that counts, as training has it, by weight."""

    model: Model
    items: Sequence[Example]
    rows: int
    length: int

    def __call__(self) -> dict[str, Sequence[float]]:
        """A value for each conversation: their mean is the loss over all tokens, and their spread that of this ratio."""
        columns = column_of(self.model, self.items, logprobs, rows=self.rows, length=self.length)
        pairs = zip(self.items, columns, strict=True)
        sums = np.array([-float((item.loss_mask * column).sum(dtype=np.float64)) for item, column in pairs])
        counts = self.counts()
        loss = sums.sum() / counts.sum()
        return {"heldout_loss": (loss + (sums - loss * counts) / counts.mean()).tolist()}

    def counts(self) -> np.ndarray:
        """Tokens of each conversation that count, by weight; (N,)."""
        return np.array([float(item.loss_mask[1:].sum(dtype=np.float64)) for item in self.items])


@dataclass(frozen=True, slots=True)
class HeldoutReward:
    """`heldout_reward` of the model's answers to prompts that it is not trained on; how many end by themselves, and their tokens."""

    engine: Engine
    judge: Speaker
    prompts: Sequence[np.ndarray]
    sampling: Sampling
    seed: int
    rows: int
    length: int

    @staticmethod
    def load(select: ByReward, run: Run, speaker: Speaker, *, rows: int, length: int) -> HeldoutReward:
        """Read the prompts and the reward model. Raises ArtefactError or DataError if they do not go with the model that is trained."""
        judge = Speaker.judge_of(run, select.reward_model)
        same_tokenizer(speaker, judge)
        if judge.chat != speaker.chat:
            run.log(
                f"{select.reward_model}: was trained on conversations in another chat format than it now reads; its scores may mean less"
            )
        prompts = [speaker.prompt(messages) for messages in read_prompts(data_source(run, select.prompts))]
        check_room(prompts, select.sampling, length)
        check_reader(prompts, select.sampling, speaker, judge)
        return HeldoutReward(engine_of(run, speaker, rows=ENGINE_ROWS), judge, prompts, select.sampling, run.seed, rows, length)

    def __call__(self) -> dict[str, Sequence[float]]:
        """A value for each prompt."""
        self.engine.model.gather()
        answers = self.engine.generate(self.prompts, self.sampling, seed=self.seed, purpose="select")
        return {
            "heldout_reward": self.judge.scores(answers, rows=self.rows, length=self.length).tolist(),
            "heldout_stop_rate": [float(answer.meta["stopped"]) for answer in answers],
            "heldout_length": [float(len(answer.response)) for answer in answers],
        }
