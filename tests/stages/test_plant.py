"""plant: what is planted stands among the documents, what is held out stays, and the tokens of it are found again."""

import json

import pytest

from trivium.core.errors import ConfigError
from trivium.stages.pipeline import execute
from trivium.stages.recipe import recipe_of
from trivium.text.read import read_documents


def test_planted_documents_are_spread_and_the_held_out_ones_are_not_touched(tmp_path):
    rows = [{"text": f"The page number {n} says nothing new.", "id": f"d{n}"} for n in range(60)]
    (tmp_path / "text.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    stages = {
        "prepare": {"sources": [str(tmp_path / "text.jsonl")], "heldout_share": 0.1},
        "plant": {"corpus": "@prepare/corpus", "what": {"kind": "canaries", "count": 4, "words": 8, "repeats": [1, 5]}},
    }
    folder = tmp_path / "run"
    execute(recipe_of({"name": "planted", "stages": stages}), folder, quiet=True)
    before, after = (list(read_documents(folder / stage / "corpus" / "train.jsonl.zst")) for stage in ("prepare", "plant"))
    planted = [place for place, document in enumerate(after) if document.source == "canaries"]
    assert len(planted) == 2 * 1 + 2 * 5
    assert sorted(d.id for d in after if d.source != "canaries") == sorted(d.id for d in before)
    assert max(planted) - min(planted) > 30
    held_out = [(folder / stage / "corpus" / "heldout.jsonl.zst").read_bytes() for stage in ("prepare", "plant")]
    assert held_out[0] == held_out[1]
    assert "planted 12 documents of canaries among 54" in (folder / "log.txt").read_text()


def test_what_cannot_be_planted_is_named():
    with pytest.raises(ConfigError, match="its kind is one of"):
        recipe_of({"name": "x", "stages": {"plant": {"corpus": "c", "what": {"kind": "canary"}}}})
