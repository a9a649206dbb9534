"""Near duplicates: documents whose signatures agree, found by banding, verified, and dropped in favour of one that is kept.

One pass over all signatures, which may be memory-mapped: besides them it holds 16 bytes a document for one band, and about 40
for ranks and results. Left out: exact similarities of the texts; what is verified is the estimate from whole signatures.
"""

from dataclasses import dataclass

import numpy as np

from trivium.core.errors import ConfigError
from trivium.core.seeds import mix
from trivium.text.dedup.minhash import EMPTY, similarity

_CHUNK = 1 << 14  # signatures looked at together: 8 MB
_MAX_ROUNDS = 1000  # in which the members of one bucket are compared with one of them
_NONE = np.zeros(0, np.int64)
_SALT = np.uint64(0xD6E8FEB86659FD93)


@dataclass(frozen=True, kw_only=True, slots=True)
class NearDedup:
    """Signatures and ranks -> which document each one duplicates.

    Candidates are documents that agree in all `rows` entries of one of `bands` bands (Indyk, Motwani 1998; Broder 1997): at
    similarity s a pair is one with probability 1 - (1 - s^rows)^bands, for 21 x 6 that is 0.28 at 0.5, 0.93 at 0.7 and 0.998 at 0.8.
    A pair of candidates counts when its signatures agree in a share of at least `threshold` less `margin`; banding alone is no threshold.

    Every document that is dropped makes a pair with one that stays and has a lower rank; two that stay make none, so a second pass
    drops nothing. text-dedup and datatrove keep one of each connected component instead, and a chain of small differences can drop
    a text that is unlike the one that is kept. The result depends on signatures and ranks alone: not on the order of the
    documents, nor on how they are cut into parts.

    threshold: 0.8; Pythia's deduplicated Pile is said to have used 0.87. margin: the share is an estimate with a standard error of
    0.035 (at 0.8, of 128 bins), so two of these are allowed: nearly all pairs at the threshold are found, and some just below it.
    memory_bytes: for one band; when 16 bytes a document are more, keys are looked at in as many parts, each of which reads the
    signatures again.
    """

    threshold: float = 0.8
    margin: float = 0.07
    bands: int = 21
    rows: int = 6
    memory_bytes: int = 1 << 32

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ConfigError(f"threshold is {self.threshold}; it is a Jaccard similarity above 0 and at most 1 (0.8 is usual)")
        if self.bands < 1 or self.rows < 1:
            raise ConfigError(f"there are {self.bands} bands of {self.rows} rows; both are at least 1")

    def __call__(self, signature_DK: np.ndarray, rank_D: np.ndarray) -> "Clusters":
        """rank_D: int64, all different; of duplicates the lowest is kept. Raises ConfigError: more entries in bands than bins.

        Costs one sort of the documents a band, and one comparison of signatures for each pair of candidates that share a bucket
        with the one that is kept there.
        """
        if self.bands * self.rows > signature_DK.shape[1]:
            raise ConfigError(f"{self.bands} bands of {self.rows} rows need more than the {signature_DK.shape[1]} bins of a signature")
        by_rank = np.argsort(rank_D, kind="stable")
        twin_D = _twins(signature_DK, by_rank)
        is_single = twin_D == np.arange(len(twin_D))  # one of each set of equal signatures
        is_alive, low, high, num_skipped = is_single, _NONE, _NONE, 0
        while True:
            found_low, found_high, skipped = self._pairs(signature_DK, by_rank[is_alive[by_rank]])
            num_skipped += skipped
            low, high = _unique_pairs(np.concatenate([low, found_low]), np.concatenate([high, found_high]))
            leader_D = _leaders(low, high, rank_D)
            is_kept = is_single & (leader_D == np.arange(len(leader_D)))
            # The first of a bucket takes those like it out of sight: when it goes and they stay, they have to be looked at again.
            if not is_kept[found_high].any() and not (is_kept & ~is_alive).any():
                return Clusters(leader_D[twin_D], num_skipped)
            is_alive = is_kept

    def _pairs(self, signature_DK: np.ndarray, documents: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        """Verified pairs (lower rank, higher rank) among documents sorted by rank; and how many members of buckets were left out."""
        parts = max(1, -(-16 * len(documents) // self.memory_bytes))
        low, high, skipped = [_NONE], [_NONE], 0
        for band in range(self.bands):
            for part in range(parts):
                key, document = self._keys(signature_DK, documents, band, (part, parts))
                order = np.argsort(key, kind="stable")  # so that a bucket stays sorted by rank
                bucket = _number_runs(key[order])
                shared = np.flatnonzero(np.bincount(bucket)[bucket] > 1) if len(bucket) else bucket
                found_low, found_high, left = _compare(signature_DK, document[order[shared]], bucket[shared], self.threshold - self.margin)
                low.append(found_low)
                high.append(found_high)
                skipped += left
        return np.concatenate(low), np.concatenate(high), skipped

    def _keys(
        self, signature_DK: np.ndarray, documents: np.ndarray, band: int, part: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Hashes of one band, and the documents they are of; part: which of how many parts of all keys."""
        columns, keys, mine = slice(band * self.rows, (band + 1) * self.rows), [np.zeros(0, np.uint64)], [_NONE]
        number, parts = map(np.uint64, part)
        for start in range(0, len(documents), _CHUNK):
            some = documents[start : start + _CHUNK]
            rows = signature_DK[some, columns]
            key = row_hashes(rows)
            inside = np.flatnonzero((rows[:, 0] != EMPTY) & (key % parts == number))
            keys.append(key[inside])
            mine.append(some[inside])
        return np.concatenate(keys), np.concatenate(mine)


@dataclass(frozen=True, slots=True)
class Clusters:
    """leader_D: int64, for each document the one that is kept instead, itself if it is kept.

    num_skipped: members of huge buckets that were not compared with all others there; 0 unless thousands of texts share a template.
    """

    leader_D: np.ndarray
    num_skipped: int = 0

    @property
    def is_kept_D(self) -> np.ndarray:
        """(D,) bool."""
        return self.leader_D == np.arange(len(self.leader_D))


def row_hashes(rows: np.ndarray) -> np.ndarray:
    """A hash of each row of uint32, (D,) uint64."""
    value = np.zeros(len(rows), np.uint64)
    for column in rows.T:
        value *= _SALT
        value = mix(value ^ column)
    return value


def _twins(signature_DK: np.ndarray, by_rank: np.ndarray) -> np.ndarray:
    """For each document the first by rank with an equal signature, (D,) int64. Equal up to a 64-bit hash of the whole signature."""
    chunks = [row_hashes(signature_DK[start : start + _CHUNK]) for start in range(0, len(signature_DK), _CHUNK)]
    key = np.concatenate([np.zeros(0, np.uint64), *chunks])
    order = by_rank[np.argsort(key[by_rank], kind="stable")]
    run = _number_runs(key[order])
    twin_D = np.empty(len(order), np.int64)
    twin_D[order] = order[_starts(run)][run]
    wordless = np.flatnonzero(signature_DK[:, 0] == EMPTY)
    twin_D[wordless] = wordless
    return twin_D


def _compare(signature_DK: np.ndarray, document: np.ndarray, bucket: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Pairs that count, in buckets of candidates sorted by rank; and how many were not compared with all others of their bucket.

    All buckets at once, in rounds: their first members are compared with the others, and those like them are found and go. So a
    bucket of true duplicates takes one round.
    """
    low, high = [_NONE], [_NONE]
    for _ in range(_MAX_ROUNDS):
        if not len(document):
            break
        run = _number_runs(bucket)
        starts = _starts(run)
        first = document[starts][run]
        agrees = np.zeros(len(document), bool)
        for start in range(0, len(document), _CHUNK):
            some = slice(start, start + _CHUNK)
            agrees[some] = similarity(signature_DK[first[some]], signature_DK[document[some]]) >= threshold
        agrees[starts] = False
        low.append(first[agrees])
        high.append(document[agrees])
        agrees[starts] = True
        document, bucket = document[~agrees], bucket[~agrees]
    return np.concatenate(low), np.concatenate(high), len(document)


def _number_runs(sorted_N: np.ndarray) -> np.ndarray:
    """0 for the first run of equal values, 1 for the next, ... (N,) int64."""
    changes = np.zeros(len(sorted_N), np.int64)
    changes[1:] = sorted_N[1:] != sorted_N[:-1]
    return np.cumsum(changes)


def _starts(run_N: np.ndarray) -> np.ndarray:
    """Where each run begins."""
    return np.flatnonzero(np.diff(run_N, prepend=-1))


def _unique_pairs(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.lexsort((low, high))
    low, high = low[order], high[order]
    is_new = np.ones(len(low), bool)
    is_new[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    return low[is_new], high[is_new]


def _leaders(low: np.ndarray, high: np.ndarray, rank_D: np.ndarray) -> np.ndarray:
    """Which document is kept instead of each, (D,) int64: the lowest in rank of those that stay and are its pair.

    In the order of rank a document goes if one before it stays and is its pair. All that can be decided is decided at once; there
    are as many rounds as the longest chain of pairs has members.
    """
    is_gone, open_low, open_high = np.zeros(len(rank_D), bool), low, high
    while len(open_low):
        is_open = np.zeros(len(rank_D), bool)
        is_open[open_high] = True
        is_gone[open_high[~is_open[open_low]]] = True
        left = ~(is_gone[open_low] | is_gone[open_high])
        open_low, open_high = open_low[left], open_high[left]
    leader_D, best = np.arange(len(rank_D)), np.full(len(rank_D), np.iinfo(np.int64).max)
    stays = is_gone[high] & ~is_gone[low]
    np.minimum.at(best, high[stays], rank_D[low[stays]])
    is_best = stays & (best[high] == rank_D[low])
    leader_D[high[is_best]] = low[is_best]
    return leader_D
