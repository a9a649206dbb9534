"""tokenizers: ids of all texts, a pass a tick, in seconds of CPU time of all threads."""

import json
import time

import tokenizers
from rounds import Rounds, options, versions

BATCH = 1000

if __name__ == "__main__":
    wanted = options()
    with open(wanted["texts"], encoding="utf-8") as file:
        texts = json.load(file)
    backend = tokenizers.Tokenizer.from_file(wanted["tokenizer"])
    rounds = Rounds(clock=time.process_time, versions=versions("tokenizers"))
    while True:
        rounds.tick()
        for start in range(0, len(texts), BATCH):
            backend.encode_batch_fast(texts[start : start + BATCH], add_special_tokens=False)
