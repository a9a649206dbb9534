"""finetune: a model learns to answer from demonstrations."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from trivium.core.config import component
from trivium.core.errors import DataError
from trivium.core.run import Run
from trivium.learn.objectives import CrossEntropy
from trivium.learn.optim.recipes import AdamW
from trivium.learn.schedules import Schedule
from trivium.nn.lora import LoRA
from trivium.stages.base import Foresight, Unreadable, Work, check_model, gather, known_model, resolve
from trivium.stages.training import foresee_training, save, train
from trivium.text.read import Replies, check_head, read_conversations


@component
class Finetune:
    """Cross-entropy on what the assistant says in conversations; leaves `@finetune/model`.

    batch_size: conversations an update, packed into rows of seq_len. Conversations longer than seq_len are dropped and counted.
    unreadable: whether a record that cannot be read stops the run, or is left out and counted. replies: of a tree with several answers to
    a message (OpenAssistant), the best ones or all.
    lora: train an adapter on frozen weights; it is left as `@finetune/adapter`, in PEFT's format, and merged into the model.
    """

    kind: Literal["finetune"] = "finetune"
    model: str
    data: str
    unreadable: Unreadable = "stop"
    replies: Replies = "best"
    steps: int = Field(gt=0)
    batch_size: int = Field(default=32, gt=0)
    seq_len: int = Field(default=256, ge=8)
    micro_batch_rows: int = Field(default=8, gt=0)
    optimizer: AdamW = AdamW(lr=1e-3)
    schedule: Schedule = Schedule(warmup_steps=20)
    max_grad_norm: float = Field(default=1.0, gt=0)
    lora: LoRA | None = None

    def check(self) -> None:
        check_model(self.model)
        if not self.data.startswith("@"):
            check_head(self.data, "conversations", is_lenient=self.unreadable == "skip")

    def foresee(self, name: str, known: Foresight) -> Work:
        tokens = self.steps * self.batch_size * known.sequence_tokens
        return foresee_training(self, name, known_model(known, self.model), known, tokens=tokens, lora=self.lora)

    def run(self, run: Run) -> Mapping[str, Any]:
        from trivium.data.sources import Groups
        from trivium.stages.models import Speaker, machine_of

        speaker = Speaker.load(resolve(run, self.model), machine_of(run)).adapt(self.lora, run.seed)
        data = resolve(run, self.data)
        conversations = gather(lambda on_skip: read_conversations(data, on_skip, replies=self.replies), run, self.unreadable)
        answered = [each for each in conversations if any(message.role == "assistant" and message.content for message in each.messages)]
        longest = min(self.seq_len, speaker.model.config.max_seq_len)
        kept = [item for item in map(speaker.demonstration, answered) if len(item.tokens) <= longest and item.loss_mask.any()]
        if not kept:
            raise DataError(
                f"{self.data}: none of its {len(conversations):,} conversations fits in {longest} tokens"
                " and has an answer that counts; raise seq_len, or look at the answers and their weights"
            )
        run.log(f"{len(kept):,} of {len(conversations):,} conversations fit in {longest} tokens and have an answer")
        source = Groups([(item,) for item in kept], groups_per_step=self.batch_size, seed=run.seed, purpose="demonstrations")
        tokens = sum(len(item.tokens) for item in kept) * self.steps * self.batch_size // len(kept)
        facts = train(run, self, speaker, CrossEntropy(), source, tokens=tokens, lora=self.lora)
        save(run, speaker, self.lora)
        return facts
