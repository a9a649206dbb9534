"""Optimizers and the recipes that assign parameters to them; the recipes are options and do not load torch."""

from trivium.learn.optim.recipes import AdamW, MuonAdamW

__all__ = ["AdamW", "MuonAdamW"]
