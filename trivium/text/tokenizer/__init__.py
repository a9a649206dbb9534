"""Byte-level BPE: train, encode, decode."""

from trivium.text.tokenizer.bpe import SPECIALS, Tokenizer, train_bpe

__all__ = ["SPECIALS", "Tokenizer", "train_bpe"]
