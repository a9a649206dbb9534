"""Which optimizer for which weights: a recipe names the rates, and every parameter goes to exactly one group."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from trivium.core.config import component
from trivium.nn.scaling import EMBED_LR, HEAD_LR, MATRIX_LR

FINETUNE_LR = 2e-5


@component
class MuonAdamW:
    """Muon for the matrices inside the blocks, AdamW for embeddings, head, norms and biases: for pre-training from scratch.

    A rate of 0 is the one that a stage derives from the model's size, else the one of nn/scaling.py.
    """

    kind: Literal["muon"] = "muon"
    lr: float = Field(default=0.0, ge=0)  # of the matrices; 0: derived, else 0.02
    embed_lr: float = Field(default=0.0, ge=0)  # 0: derived, else 0.01
    head_lr: float = Field(default=0.0, ge=0)  # 0: derived, else 0.004
    momentum: float = Field(default=0.95, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)

    def __call__(self, model: torch.nn.Module) -> list[torch.optim.Optimizer]:
        """The optimizers over all parameters of `model`."""
        from trivium.learn.optim.muon import Muon, fast_dtype  # its base class would load torch while options are still being checked

        matrices, head, rest = [], [], []
        for name, parameter in model.named_parameters():
            (matrices if parameter.dim() == 2 and ".blocks." in name else head if "head" in name else rest).append(parameter)
        groups = [{"params": rest, "lr": self.embed_lr or EMBED_LR}, {"params": head, "lr": self.head_lr or HEAD_LR}]
        adamw = torch.optim.AdamW(
            [group for group in groups if group["params"]], betas=(0.8, 0.95), eps=1e-10, weight_decay=0.0, fused=True
        )
        rates = {"lr": self.lr or MATRIX_LR, "momentum": self.momentum, "weight_decay": self.weight_decay}
        return [Muon(matrices, **rates, dtype=fast_dtype(model)), adamw]


@component
class AdamW:
    """Loshchilov, Hutter 2017, arXiv:1711.05101; weight decay on matrices only: for fine-tuning and everything after it."""

    kind: Literal["adamw"] = "adamw"
    lr: float = Field(default=0.0, ge=0)  # 0: derived, else 2e-5
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.95, ge=0, lt=1)
    eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)

    def __call__(self, model: torch.nn.Module) -> list[torch.optim.Optimizer]:
        """The optimizer over all parameters of `model` that are not frozen, in a list of one."""
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        matrices = [parameter for parameter in trained if parameter.dim() >= 2]
        rest = [parameter for parameter in trained if parameter.dim() < 2]
        groups = [{"params": matrices, "weight_decay": self.weight_decay}, {"params": rest, "weight_decay": 0.0}]
        return [
            torch.optim.AdamW(
                [group for group in groups if group["params"]],
                lr=self.lr or FINETUNE_LR,
                betas=(self.beta1, self.beta2),
                eps=self.eps,
                fused=True,
            )
        ]
