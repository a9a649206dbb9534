"""pretrain: a base model from token shards."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field

from trivium.core.config import component
from trivium.core.run import Run
from trivium.learn.optim.recipes import AdamW, MuonAdamW
from trivium.learn.schedules import Schedule
from trivium.nn.config import ModelConfig, llama
from trivium.nn.flops import flops_per_token
from trivium.nn.io.own import OWN
from trivium.nn.scaling import head_dim_of, width_of
from trivium.nn.variants import TRAITS, Variant, with_traits
from trivium.stages.base import Foresight, Work, resolve
from trivium.stages.dial import Derived, WorkWithin, derive, seconds_of
from trivium.stages.machine import Machine
from trivium.stages.training import foresee_training, save, train
from trivium.text.shards import Shard
from trivium.text.tokenizer import Tokenizer


@component
class Pretrain:
    """Next-token prediction on rows of one long stream; leaves `@pretrain/model`.

    tokens: a folder that `tokenize` made. One dial sets the size: depth, or params (all parameters, about), or time_budget
    (such as 10m). Width, head_dim, batch_tokens (tokens an update), steps and learning rates that are 0 follow from it, by rules
    that are printed (stages/dial.py). variant: llama is loaded by every tool; speedrun has what speedruns kept to need fewer tokens,
    and only trivium reads it (nn/variants.py). packing: rows are cut from one stream of documents, or hold whole ones (data/best_fit.py).
    micro_batch_rows: rows at a time, a matter of memory, and of rounding with products in
    int8. evaluate_every: updates between measurements of bits per byte on the held-out shard.
    """

    kind: Literal["pretrain"] = "pretrain"
    tokens: str
    depth: int = Field(default=0, ge=0)
    params: float = Field(default=0.0, ge=0)
    time_budget: str = ""
    width: int = Field(default=0, ge=0)
    head_dim: int = Field(default=0, ge=0)
    seq_len: int = Field(default=256, ge=8)
    variant: Variant = "llama"
    context: int = Field(default=0, ge=0)  # positions the model can be used at; 0: seq_len
    packing: Literal["stream", "bestfit"] = "stream"
    steps: int = Field(default=0, ge=0)
    batch_tokens: int = Field(default=0, ge=0)
    micro_batch_rows: int = Field(default=16, gt=0)
    optimizer: Annotated[MuonAdamW | AdamW, Field(discriminator="kind")] = MuonAdamW()
    schedule: Schedule = Schedule(warmup_steps=20, decay_share=0.5)
    max_grad_norm: float = Field(default=1.0, gt=0)
    evaluate_every: int = Field(default=100, gt=0)
    evaluate_rows: int = Field(default=64, gt=0)

    def __post_init__(self) -> None:
        if 0 < self.width < 32:
            raise ValueError(f"width is {self.width}; it is 32 or more, or 0 to derive it")

    def check(self) -> None:
        if self.time_budget:
            seconds_of(self.time_budget)
        if not self.tokens.startswith("@"):
            Shard.open(f"{self.tokens}/train", check=False)

    def settled(self, vocab_size: int, work_within: WorkWithin) -> tuple["Pretrain", list[Derived]]:
        """The same with nothing left open, and a line for each value that was."""
        values, lines = derive(self, vocab_size, work_within)
        return replace(self, **values), lines

    def vocab_size(self, known: Foresight) -> int:
        """Of the tokenizer that made the shards, or that an earlier stage will make."""
        return known.vocab_size if self.tokens.startswith("@") else Tokenizer.load(self.tokens).vocab_size

    def shape_at(self, depth: int, vocab_size: int) -> ModelConfig:
        """The architecture at a depth; width and heads as given, or else by rule."""
        width = self.width or width_of(depth)
        longest = max(self.seq_len, self.context)
        head_dim = self.head_dim or head_dim_of(width)
        plain = llama(vocab_size=vocab_size, depth=depth, width=width, max_seq_len=longest, head_dim=head_dim)
        return with_traits(plain, TRAITS[self.variant])

    def foresee(self, name: str, known: Foresight) -> Work:
        tokens = self.steps * (self.batch_tokens // self.seq_len) * self.seq_len
        config = self.shape_at(self.depth, self.vocab_size(known))
        return foresee_training(self, name, config, known, tokens=tokens, is_packed=False)

    def run(self, run: Run) -> Mapping[str, Any]:
        from trivium.data.sources import corpus
        from trivium.evals.bits_per_byte import BitsPerByte
        from trivium.learn.objectives import CrossEntropy
        from trivium.nn.model import DTYPES, Model, initialise
        from trivium.stages.models import Speaker, machine_of, with_products
        from trivium.text.chat import PLAIN

        folder, machine = resolve(run, self.tokens), machine_of(run)
        tokenizer = Tokenizer.load(folder)
        shards = {part: Shard.open(folder / part, tokenizer.fingerprint) for part in ("train", "heldout")}
        config = self.shape_at(self.depth, tokenizer.vocab_size)
        model = initialise(Model(config, compute_dtype=DTYPES[machine.precision]), run.seed).to(machine.place())
        if config.family == OWN.model_type:
            run.log(f"variant {self.variant}: only trivium reads this architecture, and it cannot be exported")
        rows_per_step = max(1, self.batch_tokens // self.seq_len)
        text = shards["train"]
        source = corpus(text.tokens, text.starts, self.packing, seq_len=self.seq_len, rows_per_step=rows_per_step, seed=run.seed)
        measure = BitsPerByte(shards["heldout"], seq_len=self.seq_len, rows=self.evaluate_rows)

        def evaluate(done: int, metrics: dict[str, float]) -> None:
            if done % self.evaluate_every == 0 or done in (1, self.steps):
                metrics["bits_per_byte"] = measure(model).value

        tokens = self.steps * rows_per_step * self.seq_len
        with_products(model, machine, self.seq_len)
        _compile(run, model, machine, tokens * flops_per_token(config, self.seq_len))
        run.log(
            f"{model.num_parameters:,} parameters; {tokens:,} tokens "
            f"= {self.steps * rows_per_step / source.num_rows:.2f} epochs of {source.num_rows * self.seq_len:,}"
            + ("" if self.packing == "stream" else f" ({source.filled:.2%} of it text, the rest padding)")
        )
        speaker = Speaker(model, tokenizer, PLAIN)
        facts = train(run, self, speaker, CrossEntropy(), source, tokens=tokens, hooks=[evaluate])
        save(run, speaker)
        return facts


def _compile(run: Run, model: Any, machine: Machine, flops: float) -> None:
    """Compile the model if that pays for so much work, and say how, or what is slower without it."""
    from trivium.nn.transformer import why_not_compile

    reason: str | None = "the run is too short to pay for it"
    if machine.pays_to_compile(flops):
        reason = why_not_compile(model.device)
        run.log(f"not compiling, which is slower: {reason}" if reason else f"compiling {model.compile_training()}; the run pays for it")
    if reason is not None and machine.products == "fp8":
        run.log(f"products in fp8 are slower than full ones where they are not compiled: {reason}")
