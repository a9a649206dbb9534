"""A model: a trunk, and when it judges rather than speaks, a scalar head on top."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn

from trivium.core.seeds import key
from trivium.nn.batch import Batch
from trivium.nn.config import ModelConfig
from trivium.nn.divergence import divergence
from trivium.nn.graphs import why_not_graphs
from trivium.nn.heads import Kernels, ScalarHead, greedy_tokens, token_logprobs, values_before
from trivium.nn.kernels import Documents, why_masks
from trivium.nn.native.compact import Compact
from trivium.nn.noise import Dropout, dropout_of, embedding_noise
from trivium.nn.transformer import Mask, Transformer, block_diagonal

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Source(Protocol):
    """Where the weights of a model are, while it has none itself: in a file (nn/promised.py), or spread over ranks (train/spread.py)."""

    def gather(self, model: "Model") -> None:
        """Give the model the weights of now, whole, on its device."""
        ...

    def gather_on_host(self, model: "Model", *, is_needed: bool) -> None:
        """The same on the host, one weight after the other, for those who need them."""
        ...

    def let_go(self, model: "Model") -> None:
        """Take them from the model again, back on its device."""
        ...


class Model(nn.Module):
    """A transformer over batches. With a scalar head it is a reward model or a critic; its language head then stays unused."""

    _compiled: Callable[..., Tensor] | None = None  # the trunk as one graph, for training
    is_replayed: bool = False  # it is a CUDA graph too: the gradients that it writes are overwritten when it runs again
    is_head_rounded: bool = (
        False  # while gradients are kept, native kernels multiply in the head too as in the blocks, not as the states are
    )
    base_fingerprint: str | None = None  # of the frozen weights, where an adapter stands on them
    source: Source | None = None  # of its weights, where it does not have them itself

    def __init__(self, config: ModelConfig, *, compute_dtype: torch.dtype = torch.float32, has_scalar: bool = False) -> None:
        super().__init__()
        self.config = config
        self.trunk = Transformer(config, compute_dtype)
        self.scalar_head = ScalarHead(config.hidden_size) if has_scalar else None

    @property
    def parts(self) -> "list[Model]":
        """The models that it is made of: itself, but of a proxy (nn/proxy.py) three."""
        return [self]

    @property
    def device(self) -> torch.device:
        """Where the weights are; what it reads must be there too."""
        return next(self.parameters()).device

    def gather(self) -> None:
        """Bring the weights up to date, whole on the device: nothing in one process. Where ranks train them a collective."""
        if self.source is not None:
            self.source.gather(self)

    @contextmanager
    def on_host(self, *, is_needed: bool) -> Iterator[None]:
        """While entered, the weights are up to date for whoever writes them: on the host, where ranks train them, if they are needed here.

        An adapter's are on the device, as what is frozen below it. With several ranks a collective.
        """
        source = self.source
        if source is None or self.base_fingerprint is not None:
            self.gather()
            yield
            return
        source.gather_on_host(self, is_needed=is_needed)
        yield
        source.let_go(self)

    def hidden(self, batch: Batch) -> Tensor:
        """Hidden states of a batch, (B, L, D); sequences packed into one row do not see each other.

        Noise is added to the embeddings, and parts of the stream are dropped, if the batch has columns of it (data/noise.py), so only
        where training examples have them.
        """
        noise_BLD, dropout = embedding_noise(batch, self.config.hidden_size), dropout_of(batch)
        if self.trunk.twin is not None and batch.num_sequences:
            compact = Compact.of(batch, is_shared=self.config.sliding_window is None and noise_BLD is None and dropout is None)
            noise_1UD = None if noise_BLD is None else compact.kept(noise_BLD)
            dropout = None if dropout is None else Dropout(*(x_BL.flatten()[compact.kept_U][None] for x_BL in dropout))
            states = self.trunk(compact.tokens_1U, compact.position_1U, compact.sight, noise_BLD=noise_1UD, dropout=dropout)
            return compact.spread(states, batch)
        # without gradients shapes vary (sampling, evaluation), and each would be compiled again
        trunk = self._compiled if self._compiled is not None and torch.is_grad_enabled() else self.trunk
        more = {name: value for name, value in (("noise_BLD", noise_BLD), ("dropout", dropout)) if value is not None}
        return trunk(batch.tokens_BL, batch.position_BL, self._mask(batch), **more)

    def _mask(self, batch: Batch) -> Mask:
        if not batch.is_packed:
            return None
        if batch.starts_D is not None and self.why_masks() is None:
            return Documents(batch.starts_D, batch.tokens_BL.shape[1])
        return block_diagonal(batch.sequence_BL)

    def why_masks(self) -> str | None:
        """Why packed rows go through a mask, in a few words; None if a varlen kernel takes them."""
        if self.config.attention_softcap is not None or self.config.sliding_window is not None:
            return "its attention is bounded or slides"
        return why_masks(self.device, self.trunk.compute_dtype)

    def compile_training(self) -> str:
        """Compile for batches of one shape; says how, in a few words.

        Block by block on a CPU, which is compiled sooner; elsewhere all of the trunk as one graph, which is recorded as a CUDA graph
        too if the model is small.
        """
        if self.device.type == "cpu":
            self.trunk.compile_blocks()
            return "block by block"
        reason = why_not_graphs(self.device, sum(parameter.numel() for parameter in self.trunk.blocks.parameters()))
        mode = "reduce-overhead" if reason is None else None
        self._compiled, self.is_replayed = torch.compile(self.trunk.forward, fullgraph=True, dynamic=False, mode=mode), reason is None
        return f"all blocks at once, {'as' if reason is None else 'without'} a CUDA graph{'' if reason is None else f' ({reason})'}"

    def compile_by_block(self) -> None:
        """If it is compiled as one graph, compile block by block instead: where the weights of each are gathered before it runs."""
        if self._compiled is not None:
            self._compiled, self.is_replayed = None, False
            self.trunk.compile_blocks()

    def logprobs(self, hidden_BLD: Tensor, batch: Batch, temperature: float, with_entropy: bool) -> tuple[Tensor, Tensor]:
        """Log-probs of the tokens that count and entropies of what they were drawn from, (B, L) each, 0 elsewhere."""
        own = self.trunk.compute_dtype if self.trunk.twin is not None else None
        return token_logprobs(
            hidden_BLD, self.trunk.head.weight, batch.tokens_BL, batch.scored_P,
            temperature=temperature, with_entropy=with_entropy, softcap=self.config.logit_softcap,
            kernels=self._head_kernels(), dtype=own if self.is_head_rounded and torch.is_grad_enabled() else None, slope_dtype=own,
        )  # fmt: skip

    def greedy(self, hidden_BLD: Tensor, batch: Batch) -> Tensor:
        """1 where a token that counts is the likeliest one, (B, L) float32, 0 elsewhere."""
        return greedy_tokens(hidden_BLD, self.trunk.head.weight, batch.tokens_BL, batch.scored_P)

    def divergence_from(self, reference: "Model", hidden_BLD: Tensor, batch: Batch, temperature: float, beta: float) -> Tensor:
        """How far this model is from the reference where the tokens that count were drawn, (B, L), 0 elsewhere; costs a forward pass of it.

        beta: which divergence it is, see nn/divergence.py.
        """
        with torch.no_grad():
            ref_hidden_BLD = reference.hidden(batch)
        return self.divergence_between(reference, hidden_BLD, ref_hidden_BLD, batch, temperature, beta)

    def divergence_between(
        self, reference: "Model", hidden_BLD: Tensor, ref_hidden_BLD: Tensor, batch: Batch, temperature: float, beta: float
    ) -> Tensor:
        """The same of states that are there."""
        return divergence(
            hidden_BLD, self.trunk.head.weight, ref_hidden_BLD, reference.trunk.head.weight, batch.scored_P,
            beta=beta, temperature=temperature, softcaps=(self.config.logit_softcap, reference.config.logit_softcap),
        )  # fmt: skip

    def _head_kernels(self) -> Kernels:
        if self.trunk.twin is not None:
            return "native"
        is_compiled = self._compiled is not None or (self.trunk.is_compiled and self.device.type != "cpu")
        return "compiled" if is_compiled and torch.is_grad_enabled() else "torch"

    def scalar(self, hidden_BLD: Tensor) -> Tensor:
        """The scalar head at every position, (B, L) float32."""
        if self.scalar_head is None:
            raise RuntimeError("this model has no scalar head")
        return self.scalar_head(hidden_BLD)

    def values(self, hidden_BLD: Tensor) -> Tensor:
        """The scalar head's estimate before every token, (B, L)."""
        return values_before(self.scalar(hidden_BLD))

    def normalise_scores(self, mean: float, std: float) -> None:
        """Shift and scale the scalar head so that scores that had this mean and deviation get mean 0 and deviation 1."""
        if self.scalar_head is None:
            raise RuntimeError("this model has no scalar head")
        self.scalar_head.gain.div_(max(std, 1e-6))
        self.scalar_head.bias.sub_(mean).div_(max(std, 1e-6))

    @property
    def num_parameters(self) -> int:
        """Number of weights, tied ones counted once."""
        return sum(parameter.numel() for parameter in self.parameters())


Draw = Callable[[ModelConfig, str, Tensor, int], Tensor]  # fills the weight of this name from the seed, and gives it back


def draw(config: ModelConfig, name: str, weight: Tensor, seed: int) -> Tensor:
    """Fill a weight from the seed: matrices N(0, 1/fan_in), outputs of attention and MLP and a scalar head 0, norms 1, biases 0.

    Zero outputs make every block the identity at first (Zhang et al. 2019, arXiv:1901.09321); if a norm follows, which has no
    slope there, they are like other matrices. Embeddings are N(0, 1) and the head N(0, 0.001^2); tied, both are N(0, 0.02^2),
    as are learned positions. Of residual scalars, the stream's are 1 and the embedding's 0.1 (nanochat); those of value embeddings 1.
    """
    zero = (".bias",) if config.norm_place != "before" else (".bias", "attention.out.weight", "mlp.down.weight")
    generator = torch.Generator().manual_seed(key(seed, "init", *map(ord, name)) >> 1)
    if name.endswith(zero) or name.startswith("scalar_head"):
        nn.init.zeros_(weight)
    elif name == "trunk.embed.weight":
        nn.init.normal_(weight, std=1.0 if not config.tie_head else 0.02, generator=generator)
    elif name == "trunk.position_embed.weight":
        nn.init.normal_(weight, std=0.02, generator=generator)
    elif name == "trunk.head.weight":
        nn.init.normal_(weight, std=0.001, generator=generator)
    elif name.endswith("scale.weight"):
        nn.init.constant_(weight, 0.1 if name == "trunk.embed_scale.weight" else 1.0)
    elif weight.dim() == 2:
        nn.init.normal_(weight, std=weight.shape[1] ** -0.5, generator=generator)
    else:
        nn.init.constant_(weight, float(config.norm != "rms_plus_one"))
    return weight


def draw_as_pythia(config: ModelConfig, name: str, weight: Tensor, seed: int) -> Tensor:
    """Fill a weight as Pythia's were: matrices N(0, 2 / 5D), outputs of attention and MLP N(0, 4 / (layers^2 D)), norms 1, biases 0.

    Nguyen, Salazar 2019, arXiv:1910.05895 ("small init"); Wang, Komatsuzaki 2021 (GPT-J); D is hidden_size.
    """
    width, layers = config.hidden_size, config.num_layers
    generator = torch.Generator().manual_seed(key(seed, "init", *map(ord, name)) >> 1)
    if name.startswith("scalar_head"):
        nn.init.zeros_(weight)
    elif weight.dim() < 2:
        nn.init.constant_(weight, float(name.endswith("norm.weight")))
    elif name.endswith(("attention.out.weight", "mlp.down.weight")):
        nn.init.normal_(weight, std=2 / (layers * width**0.5), generator=generator)
    else:
        nn.init.normal_(weight, std=(2 / (5 * width)) ** 0.5, generator=generator)
    return weight


def initialise(model: Model, seed: int, drawn: Draw = draw) -> Model:
    """Fill the weights from the seed."""
    for name, parameter in model.named_parameters():
        drawn(model.config, name, parameter, seed)
    return model
