"""Models side by side on the same held-out text: bits per byte, and the share of tokens that are the likeliest, of each row."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trivium.core.errors import DataError
from trivium.core.types import example
from trivium.studies.evidence import Training, speaker_of
from trivium.text.shards import Shard

ROWS = 512


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Of the rows of a held-out shard, each (N,): bits per byte, and the points (0 to 100) of its tokens that are predicted."""

    bits_N: np.ndarray
    points_N: np.ndarray

    @property
    def bits(self) -> float:
        """Of all rows."""
        return float(self.bits_N.mean())

    @property
    def points(self) -> float:
        """Of all rows."""
        return float(self.points_N.mean())


def heldout_shard(training: Training, given: str = "") -> Shard:
    """The held-out text of a training, or the shard that is given. Raises DataError where there is none."""
    if not given and training.heldout is None:
        raise DataError(f"{training.name}: has no held-out text; say which: heldout=FOLDER, a token shard such as RUN/tokenize/heldout")
    return Shard.open(given or str(training.heldout))


def measured(model_folder: Path, training: Training, shard: Shard, *, rows: int = ROWS) -> HeldOut:
    """What a model is worth on the first rows of a shard, each as long as the rows that it was trained on.

    Raises ArtefactError if the shard was made with another tokenizer.
    """
    from trivium.train.annotate import column_of, logprobs

    speaker = speaker_of(model_folder, training.machine)
    Shard.open(shard.path, speaker.tokenizer.fingerprint, check=False)
    length = min(training.seq_len, speaker.model.config.max_seq_len, shard.num_tokens)
    count = min(rows, shard.num_tokens // length)
    examples = [example(np.asarray(shard.tokens[i * length : (i + 1) * length])) for i in range(count)]
    size = {"rows": 16, "length": length}
    surprise = column_of(speaker.model, examples, logprobs, **size)
    agrees = column_of(speaker.model, examples, lambda out, _: out.greedy_BL, **size)
    bytes_per_token = shard.num_bytes / shard.num_tokens
    bits_N = np.array([-float(column[1:].sum(dtype=np.float64)) / math.log(2) / ((length - 1) * bytes_per_token) for column in surprise])
    return HeldOut(bits_N, np.array([100 * float(column[1:].mean()) for column in agrees]))
