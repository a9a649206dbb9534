"""Removing documents that say the same."""

from trivium.text.dedup.exact import ExactDedup
from trivium.text.dedup.minhash import MinHash
from trivium.text.dedup.near import Clusters, NearDedup

__all__ = ["Clusters", "ExactDedup", "MinHash", "NearDedup"]
