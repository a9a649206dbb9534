"""prefer: the policy learns from preferences directly, without a reward model (DPO)."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any, Literal

from pydantic import Field

from trivium.core.config import component
from trivium.core.errors import DataError
from trivium.core.run import Run
from trivium.core.seeds import generator
from trivium.core.types import Example, Group
from trivium.learn.objectives import DPO, PreferenceObjective
from trivium.learn.optim.recipes import AdamW
from trivium.learn.schedules import Schedule
from trivium.nn.lora import LoRA
from trivium.stages.base import Foresight, Unreadable, Work, check_model, gather, known_model, resolve
from trivium.stages.training import foresee_training, save, train
from trivium.text.read import check_head, read_preferences


@component
class Prefer:
    """Offline preference optimisation against the starting model as reference; leaves `@prefer/model`.

    A ranking of K answers gives K(K-1)/2 pairs without ties; pairs_per_prompt of them are drawn (0: all). batch_size is in pairs.
    Reference log-probs are computed once, as a column. lora, unreadable: see finetune.
    """

    kind: Literal["prefer"] = "prefer"
    model: str
    data: str
    unreadable: Unreadable = "stop"
    steps: int = Field(gt=0)
    batch_size: int = Field(default=32, gt=0)
    pairs_per_prompt: int = Field(default=4, ge=0)
    seq_len: int = Field(default=128, ge=8)
    micro_batch_rows: int = Field(default=16, gt=0)
    objective: PreferenceObjective = DPO()
    optimizer: AdamW = AdamW(lr=1e-4)
    schedule: Schedule = Schedule(warmup_steps=10)
    max_grad_norm: float = Field(default=1.0, gt=0)
    lora: LoRA | None = None

    def check(self) -> None:
        check_model(self.model)
        if not self.data.startswith("@"):
            check_head(self.data, "preferences", is_lenient=self.unreadable == "skip")

    def foresee(self, name: str, known: Foresight) -> Work:
        tokens = self.steps * self.batch_size * 2 * known.sequence_tokens
        return foresee_training(self, name, known_model(known, self.model), known, tokens=tokens, lora=self.lora)

    def run(self, run: Run) -> Mapping[str, Any]:
        from trivium.data.sources import Groups
        from trivium.stages.models import Speaker, machine_of, ranked_group
        from trivium.train.annotate import annotate, logprobs

        speaker = Speaker.load(resolve(run, self.model), machine_of(run)).adapt(self.lora, run.seed)
        data = resolve(run, self.data)
        items = gather(lambda on_skip: read_preferences(data, on_skip), run, self.unreadable)
        pairs_of = [self._pairs(ranked_group(speaker, item), run.seed, number) for number, item in enumerate(items)]
        pairs = [pair for found in pairs_of for pair in found]
        if not pairs:
            raise DataError(f"{self.data}: gives no pairs; all answers to a prompt are equal or tied")
        pairs = annotate(pairs, speaker.model, "ref_logprobs", logprobs, rows=self.micro_batch_rows, length=self.seq_len)
        run.log(
            f"{len(pairs):,} pairs; {pairs_of.count([]):,} of {len(items):,} preferences give none, all their answers are equal or tied"
        )
        source = Groups(pairs, groups_per_step=self.batch_size, seed=run.seed, purpose="pairs")
        tokens = sum(len(item.tokens) for pair in pairs for item in pair) * self.steps * self.batch_size // len(pairs)
        facts = train(run, self, speaker, self.objective, source, tokens=tokens, lora=self.lora)
        save(run, speaker, self.lora)
        return facts

    def _pairs(self, group: tuple[Example, ...], seed: int, number: int) -> list[Group]:
        """Pairs of one ranking, the better answer first; equal answers and ties make none."""
        ordered: list[Group] = [
            (better, worse) for better, worse in combinations(group, 2)
            if better.columns["rank"][0] < worse.columns["rank"][0] and better.tokens.tolist() != worse.tokens.tolist()
        ]  # fmt: skip
        if not self.pairs_per_prompt or len(ordered) <= self.pairs_per_prompt:
            return ordered
        chosen = generator(seed, "pairs", number).choice(len(ordered), self.pairs_per_prompt, replace=False)
        return [ordered[i] for i in sorted(chosen)]
