"""trivium's filters on given texts: which documents each drops and why, and the processor seconds it takes."""

import json
import time
from pathlib import Path
from typing import Any

from benchmarks.peers.rounds import Rounds, options
from trivium.core.types import Document
from trivium.text.filters import C4, FineWeb, GopherQuality, GopherRepetition
from trivium.text.judge import Rule, batches, judge
from trivium.text.signals import Reasons

FILTERS: dict[str, Rule] = {rule.kind: rule for rule in (GopherRepetition(), GopherQuality(), C4(), FineWeb())}


def rules(name: str) -> list[Rule]:
    """One filter, or all of them."""
    return list(FILTERS.values()) if name == "chain" else [FILTERS[name]]


def reasons(name: str, documents: list[Document]) -> Reasons:
    """Why each document is dropped, None where it is kept."""
    return [verdict.reason for batch in batches(documents) for verdict in judge(batch, rules(name))]


def answer(want: dict[str, Any], rounds: Rounds) -> None:
    """Answer until nothing more is wanted."""
    documents = [Document(text) for text in json.loads(Path(want["texts"]).read_text())]
    reasons("chain", documents[:1])  # makes the tables
    while True:
        request = rounds.tick()
        before = time.process_time()
        reasons(request["name"], documents)
        rounds.facts = {"seconds": [time.process_time() - before]}  # processor time: neighbours must not count


if __name__ == "__main__":
    answer(options(), Rounds())
