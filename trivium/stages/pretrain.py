"""pretrain: a base model from token shards, or one that goes on with other text."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from trivium.core.config import component
from trivium.core.errors import ArtefactError, ConfigError
from trivium.core.run import Run
from trivium.core.seeds import key
from trivium.data.counterfactual import Counterfactual
from trivium.data.documents import Packing
from trivium.data.mix import Mix, turns
from trivium.data.sources import TextSource
from trivium.learn.optim.recipes import AdamW, MuonAdamW
from trivium.learn.schedules import Schedule
from trivium.nn.config import ModelConfig, llama
from trivium.nn.flops import flops_per_token
from trivium.nn.io.adapter_config import base_of
from trivium.nn.io.config_json import is_guest
from trivium.nn.io.own import OWN
from trivium.nn.preset import preset
from trivium.nn.scaling import head_dim_of, width_of
from trivium.nn.variants import TRAITS, Variant, with_traits
from trivium.stages.base import Foresight, Work, check_model, known_model, resolve, result_row
from trivium.stages.corpus import OtherWords, Part, Text, check_tokens, epochs_of, heldout_of, parts_of, read_text, tokenizer_place
from trivium.stages.dial import Derived, WorkWithin, derive, seconds_of
from trivium.stages.kept import Keep
from trivium.stages.machine import Machine
from trivium.stages.training import foresee_training, leave_model, save, train, trainer_of
from trivium.text.tokenizer import Tokenizer

if TYPE_CHECKING:  # torch is loaded only when a model is
    from trivium.evals.bits_per_byte import BitsPerByte
    from trivium.stages.computing.models import Speaker

SIZES = ("depth", "width", "head_dim", "(vocab_size)")  # what a preset says


@component
class Pretrain:
    """Next-token prediction on rows of text; leaves `@pretrain/model`.

    tokens: a folder that `tokenize` made. Instead, mix: several by name, in exact proportions (mix.web.tokens=FOLDER mix.web.weight=3
    mix.books.tokens=FOLDER mix.books.weight=1 mix.books.max_epochs=4). One dial sets the size: depth, or params (all parameters,
    about), or time_budget (such as 10m). Width, head_dim, batch_tokens (tokens an update), steps and learning rates that are 0 follow
    from it, by rules that are printed (stages/dial.py). variant: standard (Llama with norms on queries and keys, as Qwen3) is loaded by
    every tool; speedrun has what speedruns kept to need fewer tokens, and only trivium reads it (nn/variants.py). packing: rows are cut
    from one stream of documents, or hold whole ones (data/best_fit.py). micro_batch_rows: rows at a time, a matter of memory, and of
    rounding with products in int8. evaluate_every: updates between measurements of bits per byte on the held-out shard; of a mixture,
    on that of each text, and their mean by weight. heldout: folders by name that `tokenize` made of other texts, on which it is
    measured too.

    method: a published recipe (pythia-70m ...). preset: a published shape instead of the dial. model: go on with this one, its optimizer
    new, for steps or time_budget (continual pre-training: docs/adaptation.md); if it has had first_step updates of the same training,
    rows, schedule and numbers of steps go on from there. keep_every: leave the model as it was after 0, 1, 2, 4, 8 ... and every so many
    updates in `@pretrain/steps/step-N` (0: only the last). tokens may also be Pythia's published rows, FOLDER/document (data/pythia.py),
    with tokenizer.json beside them; there is no held-out text then. counterfactual: the last steps read the same rows with other words
    (counterfactual.pronouns=feminine); metrics then say which share of the tokens is new. draw: another draw of the first weights and of
    the order of rows, with the seed of the run as it is (0: that of the seed).
    """

    kind: Literal["pretrain"] = "pretrain"
    tokens: str = ""
    mix: dict[str, Part] | None = None
    model: str = ""
    depth: int = Field(default=0, ge=0)
    params: float = Field(default=0.0, ge=0, le=1e12)
    time_budget: str = ""
    preset: str = ""
    first_step: int = Field(default=0, ge=0)
    width: int = Field(default=0, ge=0)
    head_dim: int = Field(default=0, ge=0)
    seq_len: int = Field(default=256, ge=8)
    variant: Variant = "standard"
    context: int = Field(default=0, ge=0)  # positions the model can be used at; 0: seq_len
    packing: Packing = "stream"
    counterfactual: OtherWords | None = None
    steps: int = Field(default=0, ge=0)
    batch_tokens: int = Field(default=0, ge=0)
    micro_batch_rows: int = Field(default=16, gt=0)
    optimizer: Annotated[MuonAdamW | AdamW, Field(discriminator="kind")] = MuonAdamW()
    schedule: Schedule = Schedule(warmup_steps=20, decay_share=0.5)
    max_grad_norm: float = Field(default=1.0, gt=0)
    evaluate_every: int = Field(default=100, gt=0)
    evaluate_rows: int = Field(default=64, gt=0)
    keep_every: int = Field(default=0, ge=0)
    draw: int = Field(default=0, ge=0)
    heldout: dict[str, str] | None = None

    def __post_init__(self) -> None:
        if 0 < self.width < 32:
            raise ValueError(f"width is {self.width}; it is 32 or more, or 0 to derive it")
        if bool(self.tokens) == bool(self.mix):
            raise ValueError("give either tokens=FOLDER or mix.NAME.tokens=FOLDER mix.NAME.weight=1 for each text, and not both")
        dial = {"depth": self.depth, "params": self.params, "width": self.width, "head_dim": self.head_dim}
        named = [name for name, value in {"model": self.model, "preset": self.preset, **dial}.items() if value]
        if (self.model or self.preset) and len(named) > 1:
            raise ValueError(f"{named[0]} says the size of the model, so leave out {' and '.join(named[1:])}")
        if self.model and (self.context or self.variant != "standard"):
            raise ValueError("the model has its context and its variant already; leave context and variant out")
        if self.model and not (self.steps or self.time_budget):
            raise ValueError("how long a model goes on is not derived; give steps=N, or time_budget such as 10m")
        if self.first_step and (not self.model or self.first_step >= self.steps):
            raise ValueError(f"first_step is {self.first_step}: the updates that model=DIRECTORY has had, fewer than steps ({self.steps})")
        if twice := sorted({*(self.heldout or {})} & {*(self.mix or {})}):
            raise ValueError(f"heldout.{twice[0]}: a text of the mixture has this name, and is measured anyway; leave it out")

    def check(self) -> None:
        if self.preset:
            preset(self.preset)
        if self.model:
            check_model(self.model)
        if self.time_budget:
            seconds_of(self.time_budget)
        if self.model and not self.model.startswith("@") and is_guest(base_of(Path(self.model))):
            raise ConfigError(f"model: {self.model} is a guest; pretrain goes on with models of ours, finetune trains guests too")
        for folder in (*(part.tokens for part in parts_of(self).values()), *(self.heldout or {}).values()):
            if not folder.startswith("@"):
                check_tokens(folder)
        turns({name: part.weight for name, part in parts_of(self).items()})

    def settled(self, vocab_size: int, work_within: WorkWithin, start: ModelConfig | None = None) -> tuple["Pretrain", list[Derived]]:
        """The same with nothing left open, and a line for each value that was. start: the shape of the model that it goes on from; where
        that is not known, all that it leaves open stays so.
        """
        if self.model and start is None:
            return self, []
        values, lines = derive(self, vocab_size, work_within, start)
        if self.preset:
            values = {name: value for name, value in values.items() if name not in SIZES}
            lines = [line for line in lines if line.name not in SIZES]
        return replace(self, **values), lines

    def vocab_size(self, known: Foresight) -> int:
        """Of the tokenizer that made the shards, or that an earlier stage will make."""
        first = next(iter(parts_of(self).values())).tokens
        return known.vocab_size if first.startswith("@") else Tokenizer.load(tokenizer_place(first)).vocab_size

    @property
    def rows_per_step(self) -> int:
        """Rows of an update."""
        return max(1, self.batch_tokens // self.seq_len)

    def seed_of(self, seed: int) -> int:
        """Of the first weights and the order of rows, from that of the run."""
        return key(seed, f"draw {self.draw}") if self.draw else seed

    def shape_at(self, depth: int, vocab_size: int) -> ModelConfig:
        """The architecture at a depth; width and heads as given, or else by rule. That of a preset whatever the depth."""
        if self.preset:
            return self._published(vocab_size)
        width = self.width or width_of(depth)
        longest = max(self.seq_len, self.context)
        head_dim = self.head_dim or head_dim_of(width)
        plain = llama(vocab_size=vocab_size, depth=depth, width=width, max_seq_len=longest, head_dim=head_dim)
        return with_traits(plain, TRAITS[self.variant])

    def _published(self, vocab_size: int) -> ModelConfig:
        """The shape of the preset. Raises ConfigError if the tokenizer or the rows are too large for it."""
        config = preset(self.preset)
        if vocab_size > config.vocab_size:
            raise ConfigError(
                f"preset {self.preset} has {config.vocab_size:,} words, the tokenizer {vocab_size:,}; take another of the two"
            )
        longest = config.max_seq_len + (config.positions == "rotary")
        if self.seq_len > longest:
            raise ConfigError(f"'seq_len' is {self.seq_len:,}; rows for preset {self.preset} have at most {longest:,} tokens")
        return config

    def foresee(self, name: str, known: Foresight) -> Work:
        tokens = (self.steps - self.first_step) * self.rows_per_step * self.seq_len
        config = known_model(known, self.model) if self.model else self.shape_at(self.depth, self.vocab_size(known))
        return foresee_training(self, name, config, known, tokens=tokens, is_packed=False)

    def run(self, run: Run) -> Mapping[str, Any]:
        from trivium.learn.objectives import CrossEntropy
        from trivium.stages.computing.models import machine_of, with_products

        machine, text = machine_of(run), read_text(self, run.path, self.seed_of(run.seed))
        epochs = epochs_of(text, self)
        speaker = self._speaker(run, machine, text.tokenizer)
        model, measures = speaker.model, self._measures(run, text.tokenizer)
        if model.config.family == OWN.model_type:
            run.log(f"variant {self.variant}: only trivium reads this architecture, and it cannot be exported")
        parts = parts_of(self)

        def evaluate(done: int, metrics: dict[str, float]) -> None:
            if isinstance(text.source, Counterfactual) and done > text.source.first_step:
                metrics |= {"changed_tokens": text.source.changed, "fitted_tokens": text.source.fitted}
            if not measures or (done % self.evaluate_every and done not in (self.first_step + 1, self.steps)):
                return
            values = {name: measure(model).value for name, measure in measures.items()}
            metrics |= {f"bits_per_byte_{name}": value for name, value in values.items() if name}
            read = {name: part.weight for name, part in parts.items() if name in values}
            if read:
                total = sum(read.values())
                metrics["bits_per_byte"] = sum(weight / total * values[name] for name, weight in read.items())

        tokens = (self.steps - self.first_step) * self.rows_per_step * self.seq_len
        with_products(model, machine, self.seq_len)
        _compile(run, model, machine, tokens * flops_per_token(model.config, self.seq_len))
        run.log(f"{model.num_parameters:,} parameters; {tokens:,} tokens = {_described(text, epochs)}")
        hooks = [evaluate, Keep(run.folder, self.keep_every, self.first_step, partial(leave_model, run, speaker))]
        trainer = trainer_of(run, self, speaker, CrossEntropy())
        facts = train(run, self, speaker, trainer, text.source, tokens=tokens, hooks=hooks, first_step=self.first_step)
        if len(measures) > 1:
            _report(run, speaker, measures)
        save(run, speaker)
        return facts

    def _speaker(self, run: Run, machine: Machine, tokenizer: Tokenizer) -> "Speaker":
        """The model to go on with, or one of the seed. Raises ArtefactError for another tokenizer, ConfigError for rows too long for it."""
        from trivium.nn.model import DTYPES, Model, draw, draw_as_pythia, initialise
        from trivium.nn.promised import drawn_later
        from trivium.stages.computing.models import Speaker, is_spread
        from trivium.text.chat import PLAIN

        if not self.model:
            config = self.shape_at(self.depth, tokenizer.vocab_size)
            seed, dtype = self.seed_of(run.seed), DTYPES[machine.precision]
            drawn = draw_as_pythia if self.preset and config.family == "gpt_neox" else draw
            if is_spread(machine):
                model = drawn_later(config, seed, machine.place(), compute_dtype=dtype, drawn=drawn)
            else:
                model = initialise(Model(config, compute_dtype=dtype), seed, drawn).to(machine.place())
            return Speaker(model, tokenizer, PLAIN)
        speaker = Speaker.load(resolve(run, self.model), machine, is_later=True).adapt(None, run.seed)
        if speaker.tokenizer.fingerprint != tokenizer.fingerprint:
            raise ArtefactError(f"{self.model}: was made with another tokenizer than the tokens; tokenize with tokenizer={self.model}")
        longest = speaker.model.config.max_seq_len + (speaker.model.config.positions == "rotary")
        if self.seq_len > longest:
            raise ConfigError(f"'seq_len' is {self.seq_len:,}; {self.model} reads rows of at most {longest:,} tokens")
        return speaker

    def _measures(self, run: Run, tokenizer: Tokenizer) -> "dict[str, BitsPerByte]":
        """Bits per byte by the name of the text, of those that are read first; published rows have no held-out text."""
        from trivium.evals.bits_per_byte import BitsPerByte

        tokens = {name: part.tokens for name, part in parts_of(self).items()} | (self.heldout or {})
        shards = {name: heldout_of(resolve(run, folder), tokenizer) for name, folder in tokens.items()}
        return {
            name: BitsPerByte(shard, seq_len=self.seq_len, rows=self.evaluate_rows) for name, shard in shards.items() if shard is not None
        }


def _report(run: Run, speaker: "Speaker", measures: "Mapping[str, BitsPerByte]") -> None:
    """Leave bits per byte on each text, with 95 % intervals, in `results.json`."""
    table = []
    for name, measure in measures.items():
        found = measure(speaker.model)
        table.append(
            result_row(run.stage, f"bits_per_byte_{name}" if name else "bits_per_byte", (found.value, found.low, found.high), found.n)
        )
    run.leave("results.json", table)
    run.log("  ".join(f"{row['measure']} {row['value']:.3f}" for row in table))


def _compile(run: Run, model: Any, machine: Machine, flops: float) -> None:
    """Compile the model if that pays for so much work, and say how, or what is slower without it."""
    from trivium.nn.transformer import why_not_compile

    reason: str | None = "the run is too short to pay for it"
    if machine.pays_to_compile(flops):
        reason = why_not_compile(model.device)
        run.log(f"not compiling, which is slower: {reason}" if reason else f"compiling {model.compile_training()}; the run pays for it")
    if reason is not None and machine.products == "fp8":
        run.log(f"products in fp8 are slower than full ones where they are not compiled: {reason}")


def _described(text: Text, epochs: Mapping[str, float]) -> str:
    """`0.20 epochs of 7,133,696`, for each text of a mixture."""
    sources = text.as_it_was.sources if isinstance(text.as_it_was, Mix) else [text.as_it_was]
    return ", ".join(
        f"{often:.2f} epochs of {source.num_rows * source.seq_len:,}{f' ({name})' if name else ''}{_padding(source)}"
        for (name, often), source in zip(epochs.items(), sources, strict=True)
    )


def _padding(source: TextSource) -> str:
    return "" if source.filled == 1 else f" ({source.filled:.2%} of it text, the rest padding)"
