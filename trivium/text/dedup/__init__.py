"""Removing documents that say the same."""

from trivium.text.dedup.exact import ExactDedup

__all__ = ["ExactDedup"]
