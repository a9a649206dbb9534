"""Guests: any other causal language model of transformers behind the interface of ours. It trains, is evaluated and generates, slowly.

A guest gets every sequence in a row of its own, padded on the right, which any causal architecture reads rightly; our masks are
not shown to it. When it generates, it reads everything again for each token. Its logits are made whole, not in chunks.
"""

import json
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from trivium.core.errors import ArtefactError, ConfigError, DivergedError
from trivium.nn.batch import Batch
from trivium.nn.config import ModelConfig
from trivium.nn.divergence import divergence_of_logits
from trivium.nn.heads import ScalarHead, greedy_of_logits, logprobs_of_logits
from trivium.nn.io.config_json import FILE as CONFIG_FILE, GUEST
from trivium.nn.io.weights import find_weights
from trivium.nn.model import Model
from trivium.nn.transformer import AnyCache, Transformer, widened

NO_LIMIT = 1 << 20  # positions of an architecture that has no limit, such as one with linear biases


class Guest(nn.Module):
    """Stands where a Transformer stands. Its "hidden states" are the last ones of the body with the logits beside them, (B, L, D + V)."""

    twin: None = None  # no kernels of ours

    def __init__(self, body: nn.Module, config: ModelConfig, compute_dtype: torch.dtype) -> None:
        super().__init__()
        self.body, self.config, self.autocast_dtype = body, config, compute_dtype
        self.compute_dtype = torch.float32  # of a cache, which here holds tokens

    def forward(self, tokens_BL: Tensor, position_BL: Tensor, mask: Tensor | None = None, cache: AnyCache | None = None) -> Tensor:
        """States and logits, (B, L, D + V). A position of 0 begins a sequence; a run of them is padding. The mask is not read."""
        if cache is not None:
            return self._read_again(tokens_BL, position_BL, cache)
        zero_BL = position_BL == 0
        before = nn.functional.pad(zero_BL, (1, 0))[:, :-1]
        after = nn.functional.pad(zero_BL, (0, 1), value=True)[:, 1:]
        start_BL = zero_BL & ~(before & after)
        start_BL[:, 0] = True
        row = start_BL.flatten().cumsum(0) - 1
        column = torch.arange(len(row), device=row.device) - start_BL.flatten().nonzero()[row, 0]
        tokens = tokens_BL.new_zeros(int(row[-1]) + 1, int(column.max()) + 1)
        filled = torch.zeros_like(tokens).index_put((row, column), torch.ones_like(row))
        states = self._read(tokens.index_put((row, column), tokens_BL.flatten()), filled)
        return states[row, column].view(*tokens_BL.shape, -1)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of every word, (..., V)."""
        return hidden[..., self.config.hidden_size :]

    def _read(self, tokens_BL: Tensor, filled_BL: Tensor) -> Tensor:
        bf16 = self.autocast_dtype != torch.float32
        with torch.autocast(tokens_BL.device.type, self.autocast_dtype if bf16 else None, enabled=bf16):
            out = self.body(input_ids=tokens_BL, attention_mask=filled_BL, use_cache=False, output_hidden_states=True)
        return torch.cat((widened(out.hidden_states[-1]), widened(out.logits)), dim=-1)

    def _read_again(self, tokens_BL: Tensor, position_BL: Tensor, cache: AnyCache) -> Tensor:
        """The cache keeps the tokens themselves; what padding left behind comes later and is not seen."""
        as_keys = tokens_BL[:, None, :, None].to(self.compute_dtype).expand(-1, self.config.num_kv_heads, -1, self.config.head_dim)
        so_far = cache.extend(0, as_keys, as_keys)[0][:, 0, : int(position_BL.max()) + 1, 0].long()
        states = self._read(so_far, torch.ones_like(so_far))
        return states.gather(1, position_BL[:, :, None].expand(-1, -1, states.shape[-1]))


class GuestModel(Model):
    """A Model whose trunk is a guest."""

    def __init__(self, guest: Guest, *, has_scalar: bool = False) -> None:
        nn.Module.__init__(self)  # Model's own would build a transformer of ours
        self.config = guest.config
        self.trunk = cast(Transformer, guest)
        self.scalar_head = ScalarHead(guest.config.hidden_size) if has_scalar else None

    def logprobs(self, hidden_BLD: Tensor, batch: Batch, temperature: float, with_entropy: bool) -> tuple[Tensor, Tensor]:
        """Log-probs of the tokens that count and entropies of what they were drawn from, (B, L) each, 0 elsewhere."""
        logits_BLV = self.trunk.logits(hidden_BLD)
        return logprobs_of_logits(logits_BLV, batch.tokens_BL, batch.scored_P, temperature=temperature, with_entropy=with_entropy)

    def greedy(self, hidden_BLD: Tensor, batch: Batch) -> Tensor:
        """1 where a token that counts is the likeliest one, (B, L) float32, 0 elsewhere."""
        return greedy_of_logits(self.trunk.logits(hidden_BLD), batch.tokens_BL, batch.scored_P)

    def divergence_from(self, reference: Model, hidden_BLD: Tensor, batch: Batch, temperature: float, beta: float) -> Tensor:
        """How far this model is from the reference where the tokens that count were drawn, (B, L); costs a forward pass of it."""
        with torch.no_grad():
            ref_hidden_BLD = reference.hidden(batch)
        logits = (self.trunk.logits(hidden_BLD), reference.trunk.logits(ref_hidden_BLD))
        return divergence_of_logits(*logits, batch.scored_P, beta=beta, temperature=temperature)

    def scalar(self, hidden_BLD: Tensor) -> Tensor:
        """The scalar head at every position, (B, L) float32."""
        return super().scalar(hidden_BLD[..., : self.config.hidden_size])


def load_guest(path: Path, *, compute_dtype: torch.dtype = torch.float32, has_scalar: bool = False) -> GuestModel:
    """The model in a directory, run by transformers from safetensors alone; weights in fp32, used in compute_dtype.

    Of its configuration vocab_size, hidden_size and max_seq_len are the model's; the counts of nn/flops.py do not describe it.
    Raises ConfigError if transformers is not installed, ArtefactError if it cannot load the model without running code of its own,
    or a tensor is missing.
    """
    transformers = _transformers()
    found = find_weights(path)
    try:
        body, report = transformers.AutoModelForCausalLM.from_pretrained(
            path, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32, output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are named below, which its own error does not do
        )  # fmt: skip
    except Exception as error:  # each of its hundreds of architectures has its own
        raise ArtefactError(f"{path}: transformers cannot load it as a guest: {str(error)[:300]}") from None
    if wrong := sorted(report["mismatched_keys"]):
        name, has, needs = wrong[0]
        file = found[name].file if name in found else path
        raise ArtefactError(f"{file}: tensor {name} has shape {list(has)}, config.json asks for {list(needs)}")
    if missing := sorted(report["missing_keys"]):  # which it fills with random numbers
        raise ArtefactError(f"{path}: tensor {missing[0]} is missing, though config.json asks for it")
    text = body.config.get_text_config()
    config = ModelConfig(
        family=GUEST, vocab_size=text.vocab_size, hidden_size=text.hidden_size, intermediate_size=1,
        num_layers=1, num_heads=1, num_kv_heads=1, head_dim=2,  # a cache of tokens needs no more
        max_seq_len=getattr(text, "max_position_embeddings", None) or NO_LIMIT,
    )  # fmt: skip
    return GuestModel(Guest(body, config, compute_dtype), has_scalar=has_scalar)


def write_guest(folder: Path, model: GuestModel, dtype: torch.dtype) -> None:
    """Write config.json and safetensors files in this precision, by transformers.

    Raises ConfigError for a scalar head, which no file of its architecture has room for, DivergedError naming a tensor that is not finite.
    """
    if model.scalar_head is not None:
        raise ConfigError("a guest with a scalar head cannot be written; reward models and critics are made from one of our families")
    body: Any = cast(Guest, model.trunk).body
    state = {name: tensor.detach().to("cpu", dtype) for name, tensor in body.state_dict().items()}
    for name, tensor in state.items():
        if not tensor.isfinite().all():
            raise DivergedError(f"{name} has values that are not finite in {dtype}, so the model is not written")
    body.save_pretrained(folder, state_dict=state)
    file = folder / CONFIG_FILE  # transformers writes the precision of the model in memory there
    fields = json.loads(file.read_text(encoding="utf-8"))
    name = "dtype" if "dtype" in fields else "torch_dtype"
    file.write_text(json.dumps(fields | {name: str(dtype).removeprefix("torch.")}, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _transformers() -> Any:
    try:
        import transformers
    except ImportError:
        raise ConfigError("a guest is run by the package transformers, which is not installed: pip install 'trivium[hf]'") from None
    transformers.utils.logging.disable_progress_bar()  # what is said to the user is ours to say
    return transformers
