"""python -m benchmarks.filters: quality filters, ours against datatrove's: megabytes a second on one core, and agreement of verdicts.

Gopher's quality and repetition rules, C4's rules for whole pages and FineWeb's, each alone and as a chain, on the same texts, in seconds of
processor time. Then every difference between the verdicts is explained: datatrove's definitions are replaced by ours one after the other,
and a difference belongs to the definition with which it goes away. What is left over at the end is unexplained.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.contest import PEERS, Contestant, Failed, Score, Talk, take_turns
from benchmarks.environment import DATATROVE
from benchmarks.ours import filters as ours
from benchmarks.table import Work, aligned, report
from trivium.core.types import Document
from trivium.text.read import read_documents

MOST_CHARS = 200_000  # of one document
WORKS = ("chain", *ours.FILTERS)


def documents_of(sources: Sequence[str], size_bytes: int) -> list[Document]:
    """The first documents of each source, all sources to the same size, about; what is no text or a whole book is left out."""
    found = []
    for source in sources:
        left = size_bytes / len(sources)
        for document in islice(read_documents(source), 1_000_000):
            if left <= 0:
                break
            if 0 < len(document.text) <= MOST_CHARS:
                found.append(document)
                left -= len(document.text.encode())
    return found


def work(scores: Sequence[Score], name: str, megabytes: float) -> Work:
    """One table."""
    return Work(f"{name}, {megabytes:.1f} MB of text", "MB/s of one core", [score.line(name, megabytes) for score in scores])


def agreement(name: str, found: dict[str, Any], mine: Sequence[str | None]) -> str:
    """How many verdicts are the same, and the definitions that explain the others."""
    total, differing = len(mine), [set(numbers) for numbers in found["differing"]]
    rows = [["definition of ours", "differences that go", "that come"]]
    for change, before, after in zip(found["changes"], differing[:-1], differing[1:], strict=True):
        rows.append([change, str(len(before - after)), str(len(after - before))])
    rows.append(["unexplained", str(len(differing[-1])), ""])
    same = f"{1 - len(differing[0]) / total:.2%} of {total:,} verdicts are the same as datatrove's as shipped"
    dropped = (sum(reason is not None for reason in reasons) for reasons in (mine, found["reasons"]))
    says = Counter(found["reasons"][number] or f"keeps, ours: {mine[number]}" for number in differing[0])
    most = ", ".join(f"{reason} ({count:,})" for reason, count in says.most_common(3))
    said = f"\nwhere they differ, datatrove says most often: {most}" if most else ""
    return f"{name}: {same}; ours drops {next(dropped):,}, datatrove {next(dropped):,}{said}\n{aligned(rows)}"


def agreements(peer: Contestant, documents: list[Document], works: Sequence[str]) -> tuple[list[str], dict[str, int]]:
    """A table for each filter, and the number of differences that nothing explains."""
    tables, unexplained = [], {}
    with Talk(peer) as talk:
        for name in (name for name in ours.FILTERS if name in works):
            mine = ours.reasons(name, documents)
            found = talk.ask(name=name, kept=[reason is None for reason in mine])
            tables.append(agreement(name, found, mine))
            unexplained[name] = len(found["differing"][-1])
    return tables, unexplained


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run both and print what they say."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.filters", description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="a quarter of a megabyte, one round: to see that it runs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=float, default=4.0, help="of text, the same share of each source")
    parser.add_argument("--data", nargs="+", default=["wiki-leads", "docstrings"], help="files, folders or assets with documents")
    parser.add_argument("--works", nargs="+", choices=WORKS, default=WORKS, help="what is timed; verdicts are compared filter by filter")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.rounds, chosen.megabytes = 1, 0.25
    documents = documents_of(chosen.data, round(chosen.megabytes * 1e6))
    megabytes = sum(len(document.text.encode()) for document in documents) / 1e6
    with tempfile.TemporaryDirectory() as folder:
        texts = Path(folder) / "texts.json"
        texts.write_text(json.dumps([document.text for document in documents]))
        common = {"texts": str(texts)}
        peer = Contestant("datatrove", (str(DATATROVE.python()), str(PEERS / "datatrove_filters.py")), common)
        entered = [Contestant("trivium", (sys.executable, "-m", "benchmarks.ours.filters"), common, True), peer]
        scores = take_turns(entered, {name: {"name": name} for name in chosen.works}, rounds=chosen.rounds)
        try:
            notes, unexplained = agreements(peer, documents, chosen.works)
        except Failed as error:
            notes, unexplained = [f"verdicts: not compared ({error})"], {}
    versions = {name: version for score in scores for name, version in score.versions.items()}
    notes.append(f"differences that nothing explains: {unexplained}")
    return report("filters", [work(scores, name, megabytes) for name in chosen.works], versions, notes)


if __name__ == "__main__":
    main()
