"""finetune: a model learns to answer from demonstrations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field

from trivium.core.config import Texts, component
from trivium.core.errors import ConfigError, DataError
from trivium.core.progress import counted
from trivium.core.run import Run
from trivium.core.types import Example
from trivium.generate.sampling import Sampling
from trivium.learn.objectives import CrossEntropy
from trivium.learn.optim.recipes import AdamW
from trivium.learn.schedules import Schedule
from trivium.nn.io.config_json import GUEST
from trivium.nn.lora import LoRA
from trivium.report.intervals import mean_interval
from trivium.stages.base import Foresight, Unreadable, Work, check_data, check_model, data_source, gather, known_model, result_row
from trivium.stages.chat_formats import Template as ChatTemplate, templated
from trivium.stages.epochs import BATCH_SIZE, check_amount, foresee_amount
from trivium.stages.training import foresee_training, save, train, trainer_of
from trivium.synth.sequences import sequences
from trivium.synth.template import MARKERS, Template
from trivium.text.read import Replies, read_conversations, read_readings


@component
class ByLoss:
    """The lowest loss on held-out conversations."""

    kind: Literal["loss"] = "loss"


@component
class ByReward:
    """The highest mean score of a reward model on the model's own answers to held-out prompts.

    Ouyang et al. 2022, arXiv:2203.02155, section 3.5: the score goes on rising, with what people prefer, after the loss on held-out data
    has begun to. Every measurement draws with the same random numbers, so that they differ by their weights only.
    """

    kind: Literal["reward"] = "reward"
    reward_model: str
    prompts: str
    sampling: Sampling = Sampling(max_new_tokens=40)


Select = Annotated[ByLoss | ByReward, Field(discriminator="kind")]


@component
class Finetune:
    """Cross-entropy on what the assistant says in conversations; leaves `@finetune/model`.

    method=NAME stands for the options of a published recipe (`trivium/stages/finetune.toml`), over which one's own go; what such a recipe
    has and this stage does not, it lists in `lacks`, which is said at the start. steps: updates; or epochs: how often each conversation is
    read, from which the updates follow. batch_size: conversations an update (0: 32), packed into rows of seq_len; or batch_tokens: tokens
    an update, prompts included, on average. Conversations longer than seq_len are dropped and counted. train_on: all turns of the
    assistant, or the last. template: alpaca, dolly or hh, how turns are written from now on; model: as the model has it; synthesizer: the
    data are texts with questions, and the model learns to write such pairs for other texts (docs/synthesis.md). unreadable: whether a
    record that cannot be read stops the run, or is left out and counted. replies: of a tree with several answers to a message
    (OpenAssistant), the best ones or all. neftune_alpha: noise on the embeddings while training (5 is usual). dropout: the share of what
    each layer adds to the stream that is left out while training (0.2 for many epochs).
    heldout: a file of conversations, or a share of `data` that is not trained on; its loss is measured after every `evaluate_every`
    updates (0: after every epoch) and at the end. select: which model is left, that with the best held-out loss (`select=loss`) or the one
    whose answers a reward model likes best (`select.kind=reward select.reward_model=... select.prompts=...`); without it the last.
    lora: train an adapter on frozen weights; it is left as `@finetune/adapter`, in PEFT's format, and merged into the model.
    """

    kind: Literal["finetune"] = "finetune"
    model: str
    data: str
    unreadable: Unreadable = "stop"
    replies: Replies = "best"
    train_on: Literal["all", "last"] = "all"
    template: Literal[ChatTemplate, "synthesizer"] = "model"
    epochs: float = Field(default=0.0, ge=0)
    steps: int = Field(default=0, ge=0)
    batch_size: int = Field(default=0, ge=0)
    batch_tokens: int = Field(default=0, ge=0)
    seq_len: int = Field(default=256, ge=8)
    micro_batch_rows: int = Field(default=8, gt=0)
    neftune_alpha: float = Field(default=0.0, ge=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    heldout: str | float = ""
    evaluate_every: int = Field(default=0, ge=0)
    select: Select | None = None
    optimizer: AdamW = AdamW(lr=1e-3)
    schedule: Schedule = Schedule(warmup_steps=20)
    max_grad_norm: float = Field(default=1.0, gt=0)
    lora: LoRA | None = None
    lacks: Texts = ()

    def __post_init__(self) -> None:
        check_amount(self)
        if isinstance(self.heldout, float) and not 0 < self.heldout < 1:
            raise ValueError(f"heldout is {self.heldout:g}; it is a file of conversations, or a share of data above 0 and below 1")
        if self.select is not None and self.select.kind == "loss" and not self.heldout:
            raise ValueError("select=loss needs heldout, a file of conversations or a share of data such as 0.05")
        if self.template == "synthesizer" and (self.train_on, self.replies) != ("all", "best"):
            raise ValueError("template=synthesizer has no turns and no trees of replies; leave train_on and replies out")
        if self.evaluate_every and not self.measures_heldout:
            raise ValueError("evaluate_every has nothing to measure; give heldout or select, or leave it out")

    @property
    def records(self) -> Literal["conversations", "readings"]:
        """What the data is."""
        return "readings" if self.template == "synthesizer" else "conversations"

    @property
    def measures_heldout(self) -> bool:
        """Whether anything is measured on the way."""
        return bool(self.heldout) or self.select is not None

    def check(self) -> None:
        check_model(self.model)
        if isinstance(self.select, ByReward):
            check_model(self.select.reward_model)
            check_data(self.select.prompts, "prompts")
        for source in (self.data, self.heldout):
            if isinstance(source, str):
                check_data(source or "@", self.records, is_lenient=self.unreadable == "skip")

    def foresee(self, name: str, known: Foresight) -> Work:
        amount = foresee_amount(self, known, read=read_readings if self.template == "synthesizer" else None)
        work = foresee_training(self, name, known_model(known, self.model), known, tokens=amount.tokens, lora=self.lora)
        generated = (
            amount.measurements * known.num_heldout * self.select.sampling.max_new_tokens if isinstance(self.select, ByReward) else 0
        )
        notes = (amount.note, *(f"without {part}" for part in self.lacks))
        return replace(work, notes=notes, tokens_generated=generated, parameters_sampled=work.parameters if generated else 0)

    def run(self, run: Run) -> Mapping[str, Any]:
        from trivium.data.noise import noisy_embeddings, with_dropout
        from trivium.data.sources import Groups, Source
        from trivium.train.best import Best

        for part in self.lacks:
            run.log(f"the recipe has what this stage does not: {part}")
        speaker = self._speaker(run)
        items, heldout = self._split(run, self._examples(run, speaker, self.data), speaker)
        groups = Groups(
            [(item,) for item in items], groups_per_step=self.batch_size or BATCH_SIZE, tokens_per_step=self.batch_tokens,
            epochs=self.epochs, seed=run.seed, purpose="demonstrations",
        )  # fmt: skip
        settled = replace(self, steps=groups.num_steps, epochs=0.0) if self.epochs else self
        if self.epochs:
            run.log(f"{self.epochs:g} epochs of {len(items):,} conversations = {counted(settled.steps, 'update')}")
        source: Source = groups
        if self.neftune_alpha:
            source = noisy_embeddings(source, alpha=self.neftune_alpha, width=speaker.model.config.hidden_size, seed=run.seed)
        if self.dropout:
            source = with_dropout(source, share=self.dropout, seed=run.seed)
        every = self.evaluate_every
        best = Best(
            speaker.model, self._measures(run, speaker, heldout),
            lambda done: done == settled.steps or (done % every == 0 if every else groups.ends_epoch(done - 1)),
            by=f"heldout_{self.select.kind}" if self.select else "", sign=1 if isinstance(self.select, ByReward) else -1, log=run.log,
        )  # fmt: skip
        seen = [best] if self.measures_heldout else []
        tokens = sum(len(item.tokens) for item in items) * groups.first_place(settled.steps) // len(items)
        trainer = trainer_of(run, settled, speaker, CrossEntropy())
        facts = train(run, settled, speaker, trainer, source, tokens=tokens, lora=self.lora, hooks=seen, companions=seen)
        if self.select is not None:
            best.take_back()
            run.log(f"kept the model after update {best.step:,} of {settled.steps:,}, the best by held-out {self.select.kind}")
        self._report(run, best)
        save(run, speaker, self.lora)
        return {**facts, "updates": settled.steps}

    def _speaker(self, run: Run) -> Any:
        """The model that is trained, and how it writes."""
        from trivium.stages.computing.models import Speaker, machine_of

        speaker = Speaker.of(run, self.model, is_later=not isinstance(self.select, ByReward))
        if self.neftune_alpha and speaker.model.config.family == GUEST:
            raise ConfigError("neftune_alpha: a guest's embeddings are transformers' own, which get no noise; leave it out")
        if self.dropout and speaker.model.config.family == GUEST:
            raise ConfigError("dropout: a guest's layers are transformers' own, from which nothing is dropped; leave it out (dropout=0)")
        if self.template != "synthesizer":
            speaker = speaker.adapt(self.lora, run.seed)
            return replace(speaker, chat=templated(self.template, speaker.chat, speaker.tokenizer, speaker.base))
        marked = speaker.adapt(None, run.seed).with_control(MARKERS, machine_of(run), run.seed)  # refuses a proxy before it grows
        if marked.tokenizer is not speaker.tokenizer:
            if self.lora is not None:
                raise ConfigError("template=synthesizer adds control tokens, whose embeddings an adapter would not train; leave lora out")
            run.log(f"control tokens that the model did not have: {' '.join(MARKERS)}")
        return marked.adapt(self.lora, run.seed)

    def _examples(self, run: Run, speaker: Any, source: str) -> list[Example]:
        """The conversations of a source that fit and have an answer that counts, as tokens. Raises DataError if there is none."""
        where = data_source(run, source)
        if self.template == "synthesizer":
            return self._readings(run, speaker, where)
        conversations = gather(lambda on_skip: read_conversations(where, on_skip, replies=self.replies), run, self.unreadable)
        answered = [each for each in conversations if any(message.role == "assistant" and message.content for message in each.messages)]
        longest = min(self.seq_len, speaker.model.config.max_seq_len)
        items = (speaker.demonstration(each, train_on=self.train_on) for each in answered)
        kept = [item for item in items if len(item.tokens) <= longest and item.loss_mask.any()]
        if not kept:
            raise DataError(
                f"{source}: none of its {len(conversations):,} conversations fits in {longest} tokens"
                " and has an answer that counts; raise seq_len, or look at the answers and their weights"
            )
        run.log(f"{len(kept):,} of {len(conversations):,} conversations fit in {longest} tokens and have an answer")
        return kept

    def _readings(self, run: Run, speaker: Any, path: str) -> list[Example]:
        """The same of texts with pairs: several a sequence."""
        found = gather(lambda on_skip: read_readings(path, on_skip), run, self.unreadable)
        longest = min(self.seq_len, speaker.model.config.max_seq_len)
        rows, count = sequences(found, Template.of(speaker.tokenizer, speaker.chat), longest=longest, seed=run.seed)
        if not rows:
            raise DataError(f"{path}: none of its {len(found):,} texts fits in {longest} tokens with a pair; raise seq_len, or look at it")
        run.log(f"{count:,} of {len(found):,} texts fit in {longest} tokens and have a pair; they make {counted(len(rows), 'sequence')}")
        return [Example(row.tokens, row.loss_mask) for row in rows]

    def _split(self, run: Run, items: list[Example], speaker: Any) -> tuple[list[Example], list[Example]]:
        """(to train on, held out): a share is drawn by lot, the same for the same seed."""
        from trivium.data.order import epoch_rows

        if isinstance(self.heldout, str):
            return items, self._examples(run, speaker, self.heldout) if self.heldout else []
        count = max(1, round(self.heldout * len(items)))
        if count == len(items):
            raise DataError(f"{self.data}: has {counted(count, 'conversation')}, which leaves none to train on beside a held-out share")
        chosen = set(epoch_rows(0, count, len(items), run.seed, "held-out demonstrations").tolist())
        return [item for i, item in enumerate(items) if i not in chosen], [items[i] for i in sorted(chosen)]

    def _measures(self, run: Run, speaker: Any, heldout: Sequence[Example]) -> list[Callable[[], Mapping[str, Sequence[float]]]]:
        """What is measured on the way."""
        from trivium.stages.computing.heldout import HeldoutLoss, HeldoutReward

        measures: list[Callable[[], Mapping[str, Sequence[float]]]] = []
        size = {"rows": self.micro_batch_rows, "length": self.seq_len}
        if heldout:
            loss = HeldoutLoss(speaker.model, heldout, **size)
            run.log(f"held out: {counted(len(heldout), 'conversation')}, {loss.counts().sum():,.0f} tokens that count")
            measures.append(loss)
        if isinstance(self.select, ByReward):
            measures.append(HeldoutReward.load(self.select, run, speaker, **size))
        return measures

    def _report(self, run: Run, best: Any) -> None:
        """Leave what the model that is kept is worth in `results.json`, with 95 % intervals."""
        table = [result_row(run.stage, name, mean_interval(values), len(values)) for name, values in best.measured().items()]
        if table:
            run.leave("results.json", table)
