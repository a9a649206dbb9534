"""trivium's data pipeline on one core: a pass over all texts a tick, in seconds of CPU time."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.peers.rounds import Rounds, options
from trivium.text.dedup import MinHash
from trivium.text.whole import signatures


def minhash(texts: list[str]) -> None:
    """Signatures of 128 bins, 5-word shingles."""
    assert len(signatures(texts, MinHash())) == len(texts)


WORKS: dict[str, Callable[[list[str]], None]] = {"minhash": minhash}

if __name__ == "__main__":
    wanted = options()
    texts, work, rounds = json.loads(Path(wanted["texts"]).read_text()), WORKS[wanted["work"]], Rounds(clock=time.process_time)
    while True:
        rounds.tick()
        work(texts)
