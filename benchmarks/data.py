"""python -m benchmarks.data: the data pipeline on one core, ours against datatrove, datasketch and rensa.

MinHash signatures in MB/s; then our pass over all signatures in documents/s, how many planted near duplicates it finds, and what
it drops that it should not. Seconds are CPU time, since a data pipeline scales by processes. Texts: --data, or the asset wiki-leads.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contest import PEERS, Contestant, Score, take_turns
from benchmarks.environment import DATASKETCH, DATATROVE, RENSA, TRANSFORMERS
from benchmarks.planted import distinct, enlarged, least_alike, planted, recall, without_alike
from benchmarks.table import Line, Work, report
from trivium.core.world import prepare_environment
from trivium.text.dedup import NearDedup
from trivium.text.read import read_documents
from trivium.text.tokenizer import train_bpe

NUM_DISTINCT = 10_000
PEERS_OF = {"minhash": ("datatrove", "datasketch", "rensa"), "tokenize": ("tokenizers",)}  # work -> who does it
PEER_NAMES = ("datatrove", "datasketch", "rensa", "tokenizers")
RECIPE = """
name = "whole"
[stages.prepare]
sources = ["corpus.jsonl"]
near_dedup = 0.8
filters = [{ kind = "gopher_repetition" }, { kind = "gopher_quality" }, { kind = "c4" }, { kind = "fineweb" }]
[stages.tokenize]
corpus = "@prepare/corpus"
"""


def corpus(sources: Sequence[str], megabytes: float) -> list[str]:
    """Texts from the beginning of the sources, about so many megabytes; fewer if they end."""
    texts, size = [], 0
    for document in chain.from_iterable(map(read_documents, sources)):
        texts.append(document.text)
        size += len(document.text.encode())
        if size >= megabytes * 1e6:
            break
    return texts


def contestants(work: str, texts: Path, tokenizer: Path, peers: Sequence[str]) -> list[Contestant]:
    """Ours, and those of the chosen peers that do this work."""
    scripts = {
        "datatrove": (DATATROVE, "datatrove_data.py"),
        "datasketch": (DATASKETCH, "minhash.py"),
        "rensa": (RENSA, "minhash.py"),
        "tokenizers": (TRANSFORMERS, "encode.py"),
    }
    options = {"texts": str(texts), "work": work, "tokenizer": str(tokenizer)}
    entered = [Contestant("trivium", (sys.executable, "-m", "benchmarks.ours.data"), options, is_ours=True)]
    for peer in PEERS_OF[work]:
        if peer in peers:
            environment, script = scripts[peer]
            entered.append(Contestant(peer, (str(environment.python()), str(PEERS / script)), options | {"peer": peer}))
    return entered


def contest(scores: Sequence[Score], work: str, megabytes: float) -> Work:
    """The table of one work: MB/s of CPU time on one core."""
    return Work(f"{work}, {megabytes:.1f} MB of text", "MB/s a core", [score.line(work, megabytes) for score in scores])


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


def whole_path(texts: Sequence[str], folder: Path, rounds: int) -> Work:
    """Raw text to token shards by `trivium run`: four filters, exact and near duplicates, 8,192 words. CPU time of all processes."""
    with (folder / "corpus.jsonl").open("w") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
    (folder / "whole.toml").write_text(RECIPE)
    size, rates = sum(len(text.encode()) for text in texts), []
    for number in range(rounds):
        command = [sys.executable, "-m", "trivium.cli", "run", "whole.toml", "--out", f"run{number}", "--quiet", "--no-chat"]
        before = os.times()
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        after = os.times()
        rates.append(size / 1e6 / (sum(after[2:4]) - sum(before[2:4])))
    line = Line("trivium", True, float(np.median(rates)), min(rates), max(rates))
    return Work(f"raw text to token shards, {size / 1e6:.0f} MB", "MB/s a core", [line])


def findings(texts: Sequence[str], num_pairs: int) -> list[str]:
    """Lines on what is found and what is dropped wrongly."""
    dedup = NearDedup()
    alone = without_alike(texts)  # a text that goes for another one leaves its variant without a pair
    found: Mapping[str, tuple[int, int]] = recall(planted(alone, num_pairs), dedup)
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
    parser.add_argument(
        "--whole-megabytes", type=float, default=100.0, help="of text that goes the whole path, repeated with changes if needed"
    )
    parser.add_argument("--peers", nargs="*", default=PEER_NAMES, choices=PEER_NAMES)
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.megabytes, chosen.rounds, chosen.documents = min(chosen.megabytes, 1.0), 1, min(chosen.documents, 50_000)
        chosen.whole_megabytes = min(chosen.whole_megabytes, 2.0)
    prepare_environment()
    texts = corpus(chosen.data, chosen.megabytes)
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    works, versions = [], {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "texts.json"
        file.write_text(json.dumps(texts))
        tokenizer = Path(folder) / "tokenizer.json"
        train_bpe(texts, 8192).save(tokenizer)
        for work in PEERS_OF:
            scores = take_turns(contestants(work, file, tokenizer, chosen.peers), {work: {"steps": 1}}, rounds=chosen.rounds)
            works.append(contest(scores, work, megabytes))
            versions |= {name: version for score in scores for name, version in score.versions.items()}
        works.append(whole_path(enlarged(texts, chosen.whole_megabytes), Path(folder), 1 if chosen.quick else 2))
    works.append(index_pass(chosen.documents, chosen.rounds))
    return report("data", works, versions, findings(texts, 100 if chosen.quick else 1000))


if __name__ == "__main__":
    main()
