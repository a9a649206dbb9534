"""pretrain: a base model from token shards."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from trivium.core.config import component
from trivium.core.run import Run
from trivium.learn.optim.recipes import AdamW, MuonAdamW
from trivium.learn.schedules import Schedule
from trivium.nn.config import ModelConfig, llama
from trivium.nn.flops import flops_per_token
from trivium.stages.base import Foresight, Work, resolve
from trivium.stages.training import foresee_training, save, train
from trivium.text.shards import Shard
from trivium.text.tokenizer import Tokenizer


@component
class Pretrain:
    """Next-token prediction on rows of one long stream; leaves `@pretrain/model`.

    tokens: a folder that `tokenize` made. depth and width set the shape (64-wide heads, gated MLP). batch_tokens: tokens an
    update; micro_batch_rows: rows at a time, a matter of memory only. evaluate_every: updates between measurements of
    bits per byte on the held-out shard.
    """

    kind: Literal["pretrain"] = "pretrain"
    tokens: str
    depth: int = Field(default=4, gt=0)
    width: int = Field(default=256, ge=32)
    seq_len: int = Field(default=256, ge=8)
    context: int = Field(default=0, ge=0)  # positions the model can be used at; 0: seq_len
    steps: int = Field(gt=0)
    batch_tokens: int = Field(default=2048, gt=0)
    micro_batch_rows: int = Field(default=16, gt=0)
    optimizer: Annotated[MuonAdamW | AdamW, Field(discriminator="kind")] = MuonAdamW()
    schedule: Schedule = Schedule(warmup_steps=20, decay_share=0.5)
    max_grad_norm: float = Field(default=1.0, gt=0)
    evaluate_every: int = Field(default=100, gt=0)
    evaluate_rows: int = Field(default=64, gt=0)

    def check(self) -> None:
        if not self.tokens.startswith("@"):
            Shard.open(f"{self.tokens}/train", check=False)

    def shape(self, vocab_size: int) -> ModelConfig:
        """The architecture for a vocabulary."""
        return llama(vocab_size=vocab_size, depth=self.depth, width=self.width, max_seq_len=max(self.seq_len, self.context))

    def foresee(self, name: str, known: Foresight) -> Work:
        tokens = self.steps * (self.batch_tokens // self.seq_len) * self.seq_len
        return foresee_training(self, name, self.shape(known.vocab_size), known, tokens=tokens, is_packed=False)

    def run(self, run: Run) -> Mapping[str, Any]:
        from trivium.data.sources import Corpus
        from trivium.evals.bits_per_byte import BitsPerByte
        from trivium.learn.objectives import CrossEntropy
        from trivium.nn.model import DTYPES, Model, initialise
        from trivium.nn.transformer import why_not_compile
        from trivium.stages.models import Speaker, machine_of
        from trivium.text.chat import PLAIN

        folder, machine = resolve(run, self.tokens), machine_of(run)
        tokenizer = Tokenizer.load(folder)
        shards = {part: Shard.open(folder / part, tokenizer.fingerprint) for part in ("train", "heldout")}
        config = self.shape(tokenizer.vocab_size)
        model = initialise(Model(config, compute_dtype=DTYPES[machine.precision]), run.seed)
        rows_per_step = max(1, self.batch_tokens // self.seq_len)
        source = Corpus(shards["train"].tokens, seq_len=self.seq_len, rows_per_step=rows_per_step, seed=run.seed)
        measure = BitsPerByte(shards["heldout"], seq_len=self.seq_len, rows=self.evaluate_rows)

        def evaluate(done: int, metrics: dict[str, float]) -> None:
            if done % self.evaluate_every == 0 or done in (1, self.steps):
                metrics["bits_per_byte"] = measure(model).value

        tokens = self.steps * rows_per_step * self.seq_len
        if machine.pays_to_compile(tokens * flops_per_token(config, self.seq_len)):
            reason = why_not_compile()
            run.log(f"not compiling, which is slower: {reason}" if reason else "compiling the blocks: the run is long enough to pay for it")
            if reason is None:
                model.trunk.compile_blocks()
        run.log(
            f"{model.num_parameters:,} parameters; {tokens:,} tokens "
            f"= {self.steps * rows_per_step / source.num_rows:.2f} epochs of {source.num_rows * self.seq_len:,}"
        )
        speaker = Speaker(model, tokenizer, PLAIN)
        facts = train(run, self, speaker, CrossEntropy(), source, tokens=tokens, hooks=[evaluate])
        save(run, speaker)
        return facts
