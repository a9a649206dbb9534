"""Near duplicates whose similarity is known: how many of them are found, and whether anything else is dropped."""

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from trivium.text.dedup import MinHash, NearDedup

RANGES = (0.7, 0.8, 0.85, 0.9, 0.95, 1.0)  # edges of similarity
_WORD = re.compile(r"\w+")
_SHINGLE, _MIN_WORDS = 5, 60


def jaccard(one: str, other: str) -> float:
    """Exact similarity of the sets of runs of 5 words, of texts with fewer words of 5 characters."""
    first, second = _shingles(one), _shingles(other)
    return len(first & second) / max(1, len(first | second))


def planted(texts: Sequence[str], count: int, seed: int = 1) -> list[tuple[str, str]]:
    """(a text, a variant of it): 0.2 to 5 % of the words are others, so that similarities from 0.5 to 1 occur."""
    draw, pairs = np.random.default_rng(seed), []
    long = [text for text in dict.fromkeys(texts) if len(text.split()) >= _MIN_WORDS]
    for index in draw.permutation(len(long))[:count].tolist():
        words = long[index].split()
        for place in draw.choice(len(words), max(1, round(len(words) * draw.uniform(0.002, 0.05))), replace=False).tolist():
            words[place] = f"other{draw.integers(10**9)}"
        pairs.append((long[index], " ".join(words)))
    return pairs


def enlarged(texts: Sequence[str], megabytes: float, seed: int = 1) -> list[str]:
    """The texts again and again until there are so many megabytes, each time with every third word from elsewhere: no copies."""
    draw, found, size = np.random.default_rng(seed), list(texts), sum(len(text.encode()) for text in texts)
    words = np.array(" ".join(texts).split(" "), dtype=object)
    while size < megabytes * 1e6:
        for text in texts:
            parts = text.split(" ")
            parts[::3] = words[draw.integers(0, len(words), len(parts[::3]))].tolist()
            found.append(" ".join(parts))
            size += len(found[-1].encode())
            if size >= megabytes * 1e6:
                break
    return found


def recall(pairs: Sequence[tuple[str, str]], dedup: NearDedup) -> dict[str, tuple[int, int]]:
    """Range of exact similarity -> (variants that were dropped, variants). Texts and variants are given at once, as a corpus."""
    originals = [original for original, _ in pairs]
    clusters = dedup(MinHash()(originals + [variant for _, variant in pairs]), np.arange(2 * len(pairs)))
    gone = ~clusters.is_kept_D[len(pairs) :]
    true = np.array([jaccard(*pair) for pair in pairs])
    found = {}
    for low, high in pairwise(RANGES):
        inside = (true >= low) & ((true < high) | (high == RANGES[-1]))
        found[f"{low:g} to {high:g}"] = (int(gone[inside].sum()), int(inside.sum()))
    return found


def without_alike(texts: Sequence[str], similarity: float = 0.4) -> list[str]:
    """The texts that no other text before them is like, by estimate."""
    clusters = NearDedup(threshold=similarity)(MinHash()(texts), np.arange(len(texts)))
    return [texts[index] for index in np.flatnonzero(clusters.is_kept_D).tolist()]


def distinct(texts: Sequence[str], count: int, seed: int = 1) -> list[str]:
    """Texts of 100 words each, drawn one by one from all words of the corpus: they share words as texts do, and no runs of them."""
    draw, words = np.random.default_rng(seed), " ".join(texts).split()
    return [" ".join(words[index] for index in draw.integers(0, len(words), 100).tolist()) for _ in range(count)]


def least_alike(texts: Sequence[str], dedup: NearDedup) -> tuple[int, float]:
    """How many of these texts are dropped, and the lowest exact similarity of one of them to the text that is kept (1 if none is)."""
    clusters = dedup(MinHash()(texts), np.arange(len(texts)))
    gone = np.flatnonzero(~clusters.is_kept_D).tolist()
    return len(gone), min((jaccard(texts[index], texts[int(clusters.leader_D[index])]) for index in gone), default=1.0)


def _shingles(text: str) -> set[tuple[str, ...]]:
    words = _WORD.findall(text.lower())
    parts = words if len(words) >= _SHINGLE else list(" ".join(words))  # as MinHash takes a text of fewer words
    return set(zip(*(parts[start:] for start in range(_SHINGLE)), strict=False))
