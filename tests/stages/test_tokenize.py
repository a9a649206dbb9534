"""A corpus may be one file a part, or many."""

from pathlib import Path

import pytest

from trivium.core.errors import DataError
from trivium.core.run import Run
from trivium.stages.base import Foresight
from trivium.stages.tokenize import Tokenize
from trivium.text.shards import Shard
from trivium.text.tokenizer import train_bpe
from trivium.text.write import write_jsonl

TEXTS = [f"the king has {number} ships" for number in range(12)]


def write(corpus: Path, files: dict[str, list[str]]) -> Path:
    corpus.mkdir()
    for name, texts in files.items():
        write_jsonl(corpus / f"{name}.jsonl.zst", [{"text": text, "id": text} for text in texts])
    return corpus


def tokenized(folder: Path, corpus: Path) -> dict[str, list[str]]:
    with Run(folder, quiet=True) as run:
        run.begin("tokenize", {})
        Tokenize(corpus=str(corpus), vocab_size=300).run(run)
    return {
        name: [document.id for document in Shard.open(folder / "tokenize" / name).documents()] for name in ("train", "heldout")
    }  # fmt: skip


@pytest.mark.parametrize(
    "files",
    [
        {"train": TEXTS[:10]},
        {"train-00000": TEXTS[:3], "train-00001": TEXTS[3:4], "train-00002": TEXTS[4:10]},
        {"train": TEXTS[:4], "train-a": TEXTS[4:10]},
    ],
)
def test_all_files_of_a_part_are_read_by_name(tmp_path, files):
    corpus = write(tmp_path / "corpus", {**files, "heldout": TEXTS[10:], "other": ["not of a part"]})
    assert tokenized(tmp_path / "run", corpus) == {"train": TEXTS[:10], "heldout": TEXTS[10:]}


def test_a_part_without_files_is_named(tmp_path):
    corpus = write(tmp_path / "corpus", {"heldout-0": TEXTS[10:], "trainings": TEXTS})
    with pytest.raises(DataError, match=r"train\.jsonl\.zst"):
        tokenized(tmp_path / "run", corpus)


def test_a_tokenizer_that_is_given_tells_the_vocabulary_of_what_follows(tmp_path):
    """Learning rates are derived from it, so arms that share a tokenizer must be told the same."""
    known = Foresight()
    Tokenize(corpus="@prepare/corpus", vocab_size=300).foresee("tokenize", known)
    Tokenize(corpus="@other/corpus", tokenizer="@tokenize/tokenizer.json").foresee("again", known)
    assert known.vocab_size == 300
    other = train_bpe(TEXTS, 270)
    other.save(tmp_path / "tokenizer.json")
    Tokenize(corpus="@other/corpus", tokenizer=str(tmp_path / "tokenizer.json")).foresee("third", known)
    assert known.vocab_size == other.vocab_size != 300
