"""finetune: a model learns to answer from demonstrations."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from trivium.core.config import component
from trivium.core.run import Run
from trivium.learn.optim.recipes import AdamW
from trivium.learn.schedules import Schedule
from trivium.nn.flops import flops_per_token, num_parameters, training_memory_bytes
from trivium.stages.base import Foresight, Work, known_model, resolve
from trivium.text.read import check_head, read_conversations


@component
class Finetune:
    """Cross-entropy on what the assistant says in conversations; leaves `@finetune/model`.

    batch_size: conversations an update, packed into rows of seq_len. Conversations longer than seq_len are dropped and counted.
    """

    kind: Literal["finetune"] = "finetune"
    model: str
    data: str
    steps: int = Field(gt=0)
    batch_size: int = Field(32, gt=0)
    seq_len: int = Field(256, ge=8)
    micro_batch_rows: int = Field(8, gt=0)
    optimizer: AdamW = AdamW(lr=1e-3)
    schedule: Schedule = Schedule(warmup_steps=20)
    max_grad_norm: float = Field(1.0, gt=0)

    def check(self) -> None:
        if not self.data.startswith("@"):
            check_head(self.data, "conversations")

    def foresee(self, name: str, known: Foresight) -> Work:
        config = known_model(known, self.model)
        known.models[name] = config
        tokens = self.steps * self.batch_size * known.sequence_tokens
        memory = training_memory_bytes(config, self.micro_batch_rows, self.seq_len, self.optimizer.kind)
        return Work(num_parameters(config), tokens, 0, tokens * flops_per_token(config, self.seq_len), memory)

    def run(self, run: Run) -> Mapping[str, Any]:
        from trivium.data.sources import Groups
        from trivium.learn.objectives import CrossEntropy
        from trivium.stages.models import Speaker, machine_of
        from trivium.train.checkpoint import Checkpoints
        from trivium.train.fit import Layout, fit
        from trivium.train.trainer import Trainer

        machine = machine_of(run)
        speaker = Speaker.load(resolve(run, self.model), machine)
        examples = [speaker.demonstration(conversation) for conversation in read_conversations(resolve(run, self.data))]
        kept = [item for item in examples if len(item.tokens) <= self.seq_len and item.loss_mask.any()]
        run.log(f"{len(kept):,} of {len(examples):,} conversations fit in {self.seq_len} tokens and have an answer")
        source = Groups([(item,) for item in kept], groups_per_step=self.batch_size, seed=run.seed, purpose="demonstrations")
        flops = flops_per_token(speaker.model.config, self.seq_len)
        trainer = Trainer("policy", speaker.model, CrossEntropy(), self.optimizer(speaker.model), schedule=self.schedule, steps=self.steps, max_grad_norm=self.max_grad_norm)
        checkpoints = Checkpoints(run)
        fit(run, source, [trainer], steps=self.steps, layout=Layout(self.micro_batch_rows, self.seq_len), checkpoints=checkpoints, ceiling=machine.ceiling, flops_per_token=flops)
        speaker.save(run.folder / "model")
        checkpoints.clear()
        tokens = sum(len(item.tokens) for item in kept) * self.steps * self.batch_size // len(kept)
        return {"parameters": speaker.model.num_parameters, "tokens": tokens, "flops": tokens * flops}
