"""python -m benchmarks.data: the data pipeline on one core, ours against datatrove, datasketch and rensa.

MinHash signatures in MB/s; then our pass over all signatures in documents/s, how many planted near duplicates it finds, and what
it drops that it should not. Seconds are CPU time, since a data pipeline scales by processes. Texts: --data, or the asset wiki-leads.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contest import PEERS, Contestant, Score, take_turns
from benchmarks.environment import DATASKETCH, DATATROVE, RENSA
from benchmarks.planted import distinct, least_alike, planted, recall
from benchmarks.table import Line, Work, report
from trivium.core.world import prepare_environment
from trivium.text.dedup import NearDedup
from trivium.text.read import read_documents

NUM_DISTINCT = 10_000
PEERS_OF = {"minhash": ("datatrove", "datasketch", "rensa")}  # work -> who does it


def corpus(sources: Sequence[str], megabytes: float) -> list[str]:
    """Texts from the beginning of the sources, about so many megabytes; fewer if they end."""
    texts, size = [], 0
    for document in chain.from_iterable(map(read_documents, sources)):
        texts.append(document.text)
        size += len(document.text.encode())
        if size >= megabytes * 1e6:
            break
    return texts


def contestants(work: str, texts: Path, peers: Sequence[str]) -> list[Contestant]:
    """Ours, and those of the chosen peers that do this work."""
    scripts = {
        "datatrove": (DATATROVE, "datatrove_data.py"),
        "datasketch": (DATASKETCH, "minhash.py"),
        "rensa": (RENSA, "minhash.py"),
    }
    options = {"texts": str(texts), "work": work}
    entered = [Contestant("trivium", (sys.executable, "-m", "benchmarks.ours.data"), options, is_ours=True)]
    for peer in PEERS_OF[work]:
        if peer in peers:
            environment, script = scripts[peer]
            entered.append(Contestant(peer, (str(environment.python()), str(PEERS / script)), options | {"peer": peer}))
    return entered


def contest(scores: Sequence[Score], work: str, megabytes: float) -> Work:
    """The table of one work: MB/s of CPU time on one core."""
    lines = []
    for score in scores:
        name, is_ours = score.contestant.name, score.contestant.is_ours
        if score.failed:
            lines.append(Line(name, is_ours, failed=score.failed))
            continue
        rates = score.rates(work, megabytes)
        lines.append(Line(name, is_ours, score.rate(work, megabytes), min(rates), max(rates)))
    return Work(f"{work}, {megabytes:.1f} MB of text", "MB/s a core", lines)


def index_pass(num_documents: int, rounds: int) -> Work:
    """Our banding, verification and choice over so many random signatures, of which a fifth are copies, half of these changed a little."""
    signature_DK = np.random.default_rng(1).integers(0, 2**32 - 2, (num_documents, 128), np.uint32)
    fifth = num_documents // 5
    signature_DK[-fifth:] = signature_DK[:fifth]
    signature_DK[-fifth : -fifth // 2, ::20] += 1
    rates = []
    for _ in range(rounds):
        begun = time.process_time()
        clusters = NearDedup()(signature_DK, np.arange(num_documents))
        rates.append(num_documents / (time.process_time() - begun))
        assert clusters.is_kept_D.sum() == num_documents - fifth
    name = f"near-duplicate pass over {num_documents:,} signatures"
    return Work(name, "documents/s a core", [Line("trivium", True, float(np.median(rates)), min(rates), max(rates))])


def findings(texts: Sequence[str], num_pairs: int) -> list[str]:
    """Lines on what is found and what is dropped wrongly."""
    dedup = NearDedup()
    found: Mapping[str, tuple[int, int]] = recall(planted(texts, num_pairs), dedup)
    listed = "; ".join(f"{name}: {gone} of {count}" for name, (gone, count) in found.items() if count)
    gone, _ = least_alike(distinct(texts, NUM_DISTINCT), dedup)
    dropped, lowest = least_alike(texts, dedup)
    return [
        f"planted near duplicates dropped at threshold {dedup.threshold:g}, by exact similarity: {listed}",
        f"dropped of {NUM_DISTINCT:,} distinct documents: {gone}",
        f"dropped of the {len(texts):,} texts themselves: {dropped}, the least alike has an exact similarity of {lowest:.2f}",
    ]


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the contests and print them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="1 MB, one round: to see that it runs")
    parser.add_argument("--data", nargs="+", default=["wiki-leads"], help="files, folders or assets with documents")
    parser.add_argument("--megabytes", type=float, default=5.0, help="of text that every contestant takes in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--documents", type=int, default=500_000, help="signatures in the near-duplicate pass")
    parser.add_argument("--peers", nargs="*", default=["datatrove", "datasketch", "rensa"], choices=["datatrove", "datasketch", "rensa"])
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.megabytes, chosen.rounds, chosen.documents = min(chosen.megabytes, 1.0), 1, min(chosen.documents, 50_000)
    prepare_environment()
    texts = corpus(chosen.data, chosen.megabytes)
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    works, versions = [], {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "texts.json"
        file.write_text(json.dumps(texts))
        for work in PEERS_OF:
            scores = take_turns(contestants(work, file, chosen.peers), {work: {"steps": 1}}, rounds=chosen.rounds)
            works.append(contest(scores, work, megabytes))
            versions |= {name: version for score in scores for name, version in score.versions.items()}
    works.append(index_pass(chosen.documents, chosen.rounds))
    return report("data", works, versions, findings(texts, 100 if chosen.quick else 1000))


if __name__ == "__main__":
    main()
