"""datatrove's pipeline steps as shipped, a pass over all texts a tick, in seconds of CPU time."""

import json
import tempfile
import time

from rounds import Rounds, options, versions


def minhash():
    """Signatures of 14 x 9 entries, 5-word shingles, its own words and normalisation; written nowhere, which favours it."""
    from datatrove.pipeline.dedup import MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig

    step = MinhashDedupSignature(tempfile.gettempdir(), MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=9))

    def work(texts):
        for text in texts:
            shingles = step.get_shingles(text)
            if shingles.size:
                step.get_signature(shingles)

    return work


WORKS = {"minhash": minhash}

if __name__ == "__main__":
    wanted = options()
    with open(wanted["texts"], encoding="utf-8") as file:
        texts = json.load(file)
    work, rounds = WORKS[wanted["work"]](), Rounds(clock=time.process_time, versions=versions("datatrove", "spacy"))
    while True:
        rounds.tick()
        work(texts)
