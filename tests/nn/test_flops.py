"""Counts of parameters, work and memory: published tables, the built model, what autograd keeps."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from trivium.core.config import plain
from trivium.nn import flops, heads, transformer
from trivium.nn.config import ModelConfig
from trivium.nn.flops import flops_per_token, num_parameters, training_memory_bytes
from trivium.nn.model import Model
from trivium.nn.preset import preset

SMALL = ModelConfig(
    vocab_size=50, hidden_size=64, num_layers=3, num_heads=4, num_kv_heads=4, head_dim=16, intermediate_size=160, max_seq_len=300
)
SLIDES = {"sliding_window": 40, "layer_kinds": ("sliding", "full", "unrotated")}
KINDS = {
    "llama": {},
    "gqa tied": {"num_kv_heads": 2, "tie_head": True},
    "wide heads": {"head_dim": 32, "has_attention_bias": True},
    "qwen3": {"family": "qwen3", "has_qk_norm": True, "num_kv_heads": 1},
    "biases": {"has_attention_bias": True, "has_output_bias": True, "has_mlp_bias": True},
    "olmo2": {"family": "olmo2", "norm_place": "after", "has_qk_norm": True, "qk_norm_over": "width", "num_kv_heads": 2},
    "smollm3": {"layer_kinds": ("unrotated",) * 3, "num_kv_heads": 2},
    "windows": {"sliding_window": 40},
    "gemma2": {
        "norm": "rms_plus_one", "norm_place": "both", "has_scaled_embedding": True, "attention_softcap": 50.0, "logit_softcap": 30.0,
        "tie_head": True, "activation": "gelu_tanh",
    },
    "gemma3": {
        "norm": "rms_plus_one", "norm_place": "both", "has_scaled_embedding": True, "has_qk_norm": True, "tie_head": True,
        "activation": "gelu_tanh", "rope_local_theta": 10.0, "sliding_window": 40,
    },
    "gpt2": {
        "norm": "layer", "is_gated": False, "activation": "gelu_tanh", "positions": "learned", "tie_head": True,
        "has_attention_bias": True, "has_output_bias": True, "has_mlp_bias": True,
    },
    "neox": {
        "family": "gpt_neox", "norm": "layer", "is_gated": False, "is_parallel": True, "activation": "gelu", "rotary_share": 0.25,
        "has_attention_bias": True, "has_output_bias": True, "has_mlp_bias": True,
    },
    "our own": {
        "family": "trivium", "activation": "relu2", "is_gated": False, "has_qk_norm": True, "num_kv_heads": 2, "logit_softcap": 15.0,
        "has_value_embeddings": True, "has_residual_scalars": True,
    },
}  # fmt: skip


def shape(kind: str, **options: object) -> ModelConfig:
    options = plain(SMALL) | KINDS[kind] | options
    return ModelConfig(**options | {"layer_kinds": options["layer_kinds"][: options["num_layers"]]})


@pytest.mark.parametrize("kind", KINDS)
def test_the_closed_form_counts_the_parameters_of_the_built_model(kind):
    assert num_parameters(shape(kind)) == Model(shape(kind)).num_parameters


def test_work_by_hand():
    config = ModelConfig(
        vocab_size=10, hidden_size=4, num_layers=1, num_heads=2, num_kv_heads=1, head_dim=2, intermediate_size=3, max_seq_len=8
    )
    matrices = 4 * 4 + 4 * 2 + 4 * 2 + 4 * 4 + 3 * 4 * 3 + 10 * 4  # query, key, value, output, gated MLP, head
    # a sequence of 3: 1 + 2 + 3 keys are met; each costs 2 * 4 operations for its score and as many for its value, three times
    assert 3 * flops_per_token(config, 3) == 3 * 6 * matrices + 3 * (1 + 2 + 3) * 2 * (2 * 4)


def test_a_window_saves_the_work_that_it_hides():
    full, mixed = (shape("llama", **options) for options in ({}, SLIDES))
    hidden = sum(max(0, seen - 40) for seen in range(1, 301))  # keys out of sight of the one sliding layer
    saved = 300 * (flops_per_token(full, 300) - flops_per_token(mixed, 300))
    assert saved == pytest.approx(12 * 4 * 16 * hidden, abs=300)  # the count of a token is rounded
    assert flops_per_token(full, 40) == flops_per_token(mixed, 40)


def test_work_of_an_8b_llama_at_8k_is_the_published_51_gigaflops():
    assert flops_per_token(preset("llama-3.1-8b"), 8192) == pytest.approx(51.5e9, rel=1e-3)


def kept_bytes(config: ModelConfig, length: int, compute_dtype: torch.dtype, is_packed: bool) -> int:
    """Bytes of the storages that autograd keeps of a forward pass over 2 rows; parameters and tables are not counted."""
    model = Model(config, compute_dtype=compute_dtype)
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    mask = torch.ones(2, 1, length, length, dtype=torch.bool).tril() if is_packed else None
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.trunk(torch.zeros(2, length, dtype=torch.int64), torch.arange(length).expand(2, -1), mask)
    ours = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    return sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in ours)


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("length", [64, 300])
@pytest.mark.parametrize("kind", KINDS)
def test_the_memory_of_a_layer_is_what_autograd_keeps(kind, length, dtype, is_packed):
    measured, estimated = [], []
    for layers in (1, 3):
        config = shape(kind, num_layers=layers)
        measured.append(kept_bytes(config, length, dtype, is_packed))
        whole = training_memory_bytes(config, 2, length, "adamw", compute_bytes=dtype.itemsize, is_packed=is_packed)
        estimated.append(whole - 16 * num_parameters(config))
    assert estimated[1] - estimated[0] == pytest.approx(measured[1] - measured[0], rel=0.03)


def test_muon_keeps_one_number_of_a_matrix_and_adamw_two():
    adamw, muon = (training_memory_bytes(SMALL, 1, 8, optimizer) for optimizer in ("adamw", "muon"))
    matrices = sum(p.numel() for name, p in Model(SMALL).named_parameters() if ".blocks." in name and p.dim() == 2)
    assert adamw - muon == 4 * matrices


def test_the_constants_are_those_of_the_modules_they_describe():
    assert (flops.SHORT, flops.HEAD_CHUNK) == (transformer.SHORT, heads.CHUNK)
    assert (flops.HEAD_KEEP_WORDS, flops.HEAD_KEEP_BYTES) == (heads.KEEP_WORDS, heads.KEEP_BYTES)


def test_counting_needs_no_torch():
    code = "import sys, trivium.nn.flops, trivium.nn.io.config_json; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0
