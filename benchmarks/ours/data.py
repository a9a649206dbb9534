"""trivium's data pipeline on one core: a pass over all texts a tick, in seconds of CPU time."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.peers.rounds import Rounds, options
from trivium.core.types import Document
from trivium.text.dedup import MinHash
from trivium.text.tokenizer import Tokenizer
from trivium.text.whole import signatures

Pass = Callable[[list[str]], None]
_BATCH = 1000


def minhash(wanted: dict[str, Any]) -> Pass:
    """Signatures of 128 bins, 5-word shingles."""

    def work(texts: list[str]) -> None:
        assert len(signatures([Document(text) for text in texts], MinHash())) == len(texts)

    return work


def tokenize(wanted: dict[str, Any]) -> Pass:
    """Ids of all texts, in batches as `write_shard` has them."""
    tokenizer = Tokenizer.load(wanted["tokenizer"])

    def work(texts: list[str]) -> None:
        for start in range(0, len(texts), _BATCH):
            assert tokenizer.encode_batch(texts[start : start + _BATCH])

    return work


WORKS: dict[str, Callable[[dict[str, Any]], Pass]] = {"minhash": minhash, "tokenize": tokenize}

if __name__ == "__main__":
    asked = options()
    everything, one_pass = json.loads(Path(asked["texts"]).read_text()), WORKS[asked["work"]](asked)
    rounds = Rounds(clock=time.process_time)
    while True:
        rounds.tick()
        one_pass(everything)
