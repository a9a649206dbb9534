"""Optimizers and the recipes that assign parameters to them."""

from trivium.learn.optim.muon import Muon, orthogonalise
from trivium.learn.optim.recipes import AdamW, MuonAdamW

__all__ = ["AdamW", "Muon", "MuonAdamW", "orthogonalise"]
