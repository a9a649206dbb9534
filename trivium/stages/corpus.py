"""The text that pre-training reads: one folder of token shards, or several mixed by weight. For the stage, and for who looks back at it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trivium.core.config import component
from trivium.core.errors import ConfigError
from trivium.core.seeds import key
from trivium.data.counterfactual import Counterfactual
from trivium.data.documents import corpus
from trivium.data.mix import Mix
from trivium.data.pythia import PythiaRows
from trivium.data.sources import TextSource
from trivium.stages.base import located
from trivium.text.pronouns import feminine_edits, same_edits
from trivium.text.shards import Shard
from trivium.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from trivium.stages.pretrain import Pretrain


@component
class Part:
    """One text of a mixture. tokens: a folder that `tokenize` made.

    weight: its share of all rows is its weight over the sum of them. max_epochs: refuse a run that would read it more often;
    0 allows any number (up to 4 is nearly as good as new text, Muennighoff et al. 2023, arXiv:2305.16264). skip: rows that an earlier
    `pretrain tokens=` with this seed has read of it (its steps x rows an update); it goes on after them, in the order that it has alone.
    """

    tokens: str
    weight: float = Field(gt=0)
    max_epochs: float = Field(default=0.0, ge=0)
    skip: int = Field(default=0, ge=0)


@component
class OtherWords:
    """The last `share` of the steps reads the same rows with feminine pronouns, or with the `same`: what did the words do?

    Biderman et al. 2023, arXiv:2304.01373, section 4.1. Until then a run with it has the bits of one without.
    """

    pronouns: Literal["feminine", "same"] = "feminine"
    share: float = Field(default=0.07, gt=0, le=1)

    def __call__(self, source: TextSource, tokenizer: Tokenizer, steps: int) -> Counterfactual:
        """The source with other words in it."""
        edits = feminine_edits if self.pronouns == "feminine" else same_edits
        return Counterfactual(source, tokenizer, edits, first_step=steps - round(self.share * steps))


@dataclass(frozen=True, slots=True)
class Text:
    """Shards by the name of their part, "" if there is only one, and the rows made of them in their order."""

    tokenizer: Tokenizer
    shards: Mapping[str, Shard]
    source: TextSource

    @property
    def as_it_was(self) -> TextSource:
        """The source without other words in it."""
        return self.source.source if isinstance(self.source, Counterfactual) else self.source


def parts_of(options: "Pretrain") -> dict[str, Part]:
    """The texts by name, sorted: the order in which a file lists them changes nothing. One alone is called ""."""
    return dict(sorted(options.mix.items())) if options.mix else {"": Part(tokens=options.tokens, weight=1.0)}


def read_text(options: "Pretrain", folder: Path, seed: int) -> Text:
    """Open the training shards of a stage whose run is in `folder`.

    Raises ArtefactError (damaged, or of different tokenizers), DataError (too short), ConfigError (weights).
    """
    text = _as_it_was(options, folder, seed)
    if options.counterfactual is None:
        return text
    return replace(text, source=options.counterfactual(text.source, text.tokenizer, options.steps))


def _as_it_was(options: "Pretrain", folder: Path, seed: int) -> Text:
    parts = parts_of(options)
    places = {name: located(folder, part.tokens) for name, part in parts.items()}
    tokenizer = Tokenizer.load(tokenizer_place(next(iter(places.values()))))
    if options.mix is None and is_published(places[""]):
        return Text(tokenizer, {}, _published(places[""], options))
    shards = {name: Shard.open(place / "train", tokenizer.fingerprint) for name, place in places.items()}
    sources = {
        # a text alone keeps the seed of the run, as does one that was alone; one of several has its own, so that its order does not
        # depend on the others
        name: corpus(
            shard.tokens,
            shard.starts,
            options.packing,
            seq_len=options.seq_len,
            rows_per_step=options.rows_per_step,
            seed=key(seed, f"mix {name}") if name and not parts[name].skip else seed,
        )  # fmt: skip
        for name, shard in shards.items()
    }
    if options.mix is None:
        return Text(tokenizer, shards, sources[""])
    weights = {name: part.weight for name, part in parts.items()}
    skip = {name: part.skip for name, part in parts.items()}
    return Text(tokenizer, shards, Mix(sources, weights, rows_per_step=options.rows_per_step, skip=skip))


def is_published(place: Path | str) -> bool:
    """Whether a place names rows as Pythia published them, FOLDER/document: its index is beside it."""
    return Path(f"{place}.idx").is_file()


def tokenizer_place(place: Path | str) -> Path:
    """The folder with the tokenizer of these tokens."""
    return Path(place).parent if is_published(place) else Path(place)


def check_tokens(place: str) -> None:
    """Look at what the user named. Raises ArtefactError."""
    if is_published(place):
        Tokenizer.load(tokenizer_place(place))
    else:
        Shard.open(f"{place}/train", check=False)


def heldout_of(place: Path, tokenizer: Tokenizer) -> Shard | None:
    """The held-out shard beside the training text; published rows have none."""
    return None if is_published(place) else Shard.open(place / "heldout", tokenizer.fingerprint)


def _published(place: Path, options: "Pretrain") -> PythiaRows:
    source = PythiaRows(place, rows_per_step=options.rows_per_step)
    if source.seq_len != options.seq_len:
        raise ConfigError(
            f"{place}: its rows have {source.seq_len:,} tokens, 'seq_len' is {options.seq_len:,}; set seq_len={source.seq_len}"
        )
    return source


def epochs_of(text: Text, options: "Pretrain") -> dict[str, float]:
    """How often each text is read in all steps. Raises ConfigError where that is more than its max_epochs."""
    num_rows, whole = options.steps * options.rows_per_step, text.as_it_was
    if not isinstance(whole, Mix):
        return {"": num_rows / whole.num_rows}
    epochs = {}
    for (name, part), source, count in zip(parts_of(options).items(), whole.sources, whole.counts_at(num_rows), strict=True):
        epochs[name] = float(count / source.num_rows)
        if part.max_epochs and epochs[name] > part.max_epochs:
            raise ConfigError(
                f"'mix.{name}': {options.steps:,} steps read {epochs[name]:.2f} epochs of it ({count:,} rows, it has {source.num_rows:,}), "
                f"max_epochs is {part.max_epochs:g}; lower its weight or steps, give it more text, or raise max_epochs"
            )
    return epochs
