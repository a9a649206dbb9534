"""datasketch or rensa: signatures of 128 entries, a pass over all texts a tick, in seconds of CPU time.

They take shingles; those are made in Python as their documentation does, from words of a regular expression.
"""

import json
import re
import time

from rounds import Rounds, options, versions

WORD = re.compile(r"\w+")


def shingles(text):
    """Runs of 5 words in lower case; all words of a shorter text."""
    words = WORD.findall(text.lower())
    return {" ".join(words[i : i + 5]) for i in range(max(1, len(words) - 4))}


def datasketch():
    """MinHash with 128 permutations and update_batch, its fastest way to fill one."""
    from datasketch import MinHash

    def work(texts):
        for text in texts:
            MinHash(num_perm=128).update_batch([shingle.encode() for shingle in shingles(text)])

    return work


def rensa():
    """The Rho sketch for many documents at once, its fastest."""
    from rensa import RMinHash

    return lambda texts: RMinHash.digest_matrix_from_token_sets_rho([list(shingles(text)) for text in texts], 128, 1)


PEERS = {"datasketch": datasketch, "rensa": rensa}

if __name__ == "__main__":
    wanted = options()
    with open(wanted["texts"], encoding="utf-8") as file:
        texts = json.load(file)
    work, rounds = PEERS[wanted["peer"]](), Rounds(clock=time.process_time, versions=versions(wanted["peer"]))
    while True:
        rounds.tick()
        work(texts)
