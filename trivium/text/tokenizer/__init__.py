"""Byte-level BPE: train, encode, decode."""

from trivium.text.tokenizer.bpe import SPECIALS, Tokenizer, splitting_rule, train_bpe

__all__ = ["SPECIALS", "Tokenizer", "splitting_rule", "train_bpe"]
