"""Weights that a model does not have yet: each is read from a file, or drawn, when it is wanted, so a device never holds all of them."""

from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor, nn

from trivium.nn.config import ModelConfig
from trivium.nn.model import Draw, Model, draw


def hollow(shape: torch.Size, device: torch.device | str, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor that holds one number, a NaN, as every one of its numbers: whoever reads it too soon does not go unseen."""
    return torch.full((), torch.nan, device=device, dtype=dtype).expand(shape)


def is_hollow(weight: Tensor) -> bool:
    """Whether a tensor holds one number for all of its numbers."""
    return weight.numel() > 1 and not any(weight.stride())


class Promised:
    """Where the weights of a model come from that has none on its device. names: of its parameters; read: one of them, on the CPU."""

    def __init__(self, names: Collection[str], read: Callable[[str], Tensor], device: torch.device | str) -> None:
        self.names, self.read, self.device = frozenset(names), read, device

    def __deepcopy__(self, memo: dict[int, object]) -> "Promised":
        """What is promised to a model is to its copy."""
        return self

    def gather(self, model: Model) -> None:
        """Keep the promise for good."""
        self._fill(model, self.device)
        model.source = None

    def gather_on_host(self, model: Model, *, is_needed: bool) -> None:
        """Keep it until they are let go."""
        if is_needed:
            self._fill(model, "cpu")

    def let_go(self, model: Model) -> None:
        """Take them from the model again."""
        for _, weight in self._own(model):
            weight.data = hollow(weight.shape, self.device)

    def fill(self, module: nn.Module, names: Mapping[nn.Parameter, str]) -> list[nn.Parameter]:
        """Give those parameters of a part of the model that are promised their weights, on their device; which these are."""
        found = [weight for weight in module.parameters() if names.get(weight) in self.names]
        for weight in found:
            weight.data = self.read(names[weight]).to(weight.device)
        return found

    def _fill(self, model: Model, device: torch.device | str) -> None:
        for name, weight in self._own(model):
            weight.data = self.read(name).to(device)

    def _own(self, model: Model) -> list[tuple[str, nn.Parameter]]:
        return [(name, weight) for name, weight in model.named_parameters() if name in self.names]


def weight_of(model: Model, name: str) -> Tensor:
    """A weight of a model that may not have it yet."""
    source = model.source
    return source.read(name) if isinstance(source, Promised) and name in source.names else model.get_parameter(name)


def drawn_later(config: ModelConfig, seed: int, device: torch.device | str, *, compute_dtype: torch.dtype, drawn: Draw = draw) -> Model:
    """A model whose weights `initialise` would draw from the seed, each drawn when it is wanted."""
    with torch.device("meta"):
        model = Model(config, compute_dtype=compute_dtype)
    shapes = {name: weight.shape for name, weight in model.named_parameters()}
    model.load_state_dict({name: hollow(weight.shape, device) for name, weight in model.state_dict().items()}, assign=True)
    if config.tie_head:
        model.trunk.head.weight = model.trunk.embed.weight
    model.trunk.fill_tables()
    model.source = Promised(shapes, lambda name: drawn(config, name, torch.empty(shapes[name]), seed), device)
    return model.to(device)
