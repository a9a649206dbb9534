"""Removing documents that say the same."""

from trivium.text.dedup.lines import LineDedup
from trivium.text.dedup.minhash import MinHash
from trivium.text.dedup.near import Clusters, NearDedup
from trivium.text.dedup.substring import SHORTEST_COPY, SubstringDedup

__all__ = ["SHORTEST_COPY", "Clusters", "LineDedup", "MinHash", "NearDedup", "SubstringDedup"]
