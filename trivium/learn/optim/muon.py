"""Muon: momentum whose matrix is replaced by the nearest orthogonal one, so that every direction learns at the same rate.

torch.optim.Muon orthogonalises matrix after matrix in bfloat16, which is slow where the processor has no fast bf16 (measured
figures in LOG.md). This one takes all matrices of a shape in one batched product, in the precision the machine is fast at.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from trivium.nn.model import Model

# Optimal odd polynomials of degree 5 for singular values down to 1e-3 (Amsel et al. 2025, "The Polar Express", arXiv:2505.16932,
# Algorithm 1 with l = 1e-3, 5 iterations, safety 1.02)
POLAR_EXPRESS = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)


def orthogonalise(matrices_NRC: Tensor) -> Tensor:
    """The orthogonal factor of each matrix, to a few per cent: singular values land in about [0.9, 1.1]."""
    x = matrices_NRC.mT if matrices_NRC.shape[-2] > matrices_NRC.shape[-1] else matrices_NRC
    x = x / (x.norm(dim=(-2, -1), keepdim=True) * 1.02 + 1e-6)
    for a, b, c in POLAR_EXPRESS:
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if matrices_NRC.shape[-2] > matrices_NRC.shape[-1] else x


def fast_dtype(model: torch.nn.Module) -> torch.dtype:
    """What matrices are orthogonalised in: bf16, as in the original code, where the machine multiplies it clearly faster; else fp32.

    That is a GPU that does, and a processor on which the model computes in it for this reason (stages/machine.py).
    """
    device = next(model.parameters()).device
    if isinstance(model, Model) and device.type == "cpu":
        return model.trunk.compute_dtype
    is_fast = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    return torch.bfloat16 if is_fast else torch.float32


class Muon(torch.optim.Optimizer):
    """Jordan et al. 2024, "Muon: an optimizer for hidden layers", with Nesterov momentum and decoupled weight decay.

    For matrices only (embeddings and heads belong to AdamW). The update is scaled by sqrt(max(1, rows / columns)), as in the
    original code. Options: lr, momentum in [0, 1), weight_decay.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if "momentum" not in self.state[parameter]:
                    self.state[parameter]["momentum"] = torch.zeros_like(parameter)
                momentum = self.state[parameter]["momentum"]
                momentum.lerp_(parameter.grad, 1 - group["momentum"])
                by_shape[parameter.shape].append((parameter, _whole(parameter.grad.lerp(momentum, group["momentum"]))))
            for shape, members in by_shape.items():
                updates = orthogonalise(torch.stack([update for _, update in members]).to(self.dtype))
                scale = -group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5
                for (parameter, _), update in zip(members, updates, strict=True):
                    if group["weight_decay"]:
                        parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(_spread(update.to(parameter.dtype), parameter), alpha=scale)


def _whole(matrix: Tensor) -> Tensor:
    """All of it on every rank, if ranks are cut in more than one way: torch does not stack matrices whose rows and columns are cut."""
    return matrix.full_tensor() if isinstance(matrix, DTensor) and matrix.device_mesh.ndim > 1 else matrix


def _spread(matrix: Tensor, parameter: Tensor) -> Tensor:
    """Spread over the ranks as the parameter is, if it is not yet."""
    if not isinstance(parameter, DTensor) or isinstance(matrix, DTensor):
        return matrix
    return distribute_tensor(matrix, parameter.device_mesh, parameter.placements, src_data_rank=None)
