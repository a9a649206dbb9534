"""Published shapes have the published numbers of parameters."""

import pytest
import torch

from trivium.core.errors import ConfigError
from trivium.nn.flops import num_embedding_parameters, num_parameters
from trivium.nn.io.config_json import to_json
from trivium.nn.model import Model
from trivium.nn.preset import preset, preset_names

PYTHIA = {  # non-embedding and all parameters (Biderman et al. 2023, table 1; the two smallest: their model cards)
    "14m": (1_189_888, 14_067_712),
    "31m": (4_739_072, 30_494_720),
    "70m": (18_915_328, 70_426_624),
    "160m": (85_056_000, 162_322_944),
    "410m": (302_311_424, 405_334_016),
    "1b": (805_736_448, 1_011_781_632),
    "1.4b": (1_208_602_624, 1_414_647_808),
    "2.8b": (2_517_652_480, 2_775_208_960),
    "6.9b": (6_444_163_072, 6_857_302_016),
    "12b": (11_327_027_200, 11_846_072_320),
}
SHAPES = {  # layers, width, heads, width of a head, words with padding
    "14m": (6, 128, 4, 32, 50_304),
    "31m": (6, 256, 8, 32, 50_304),
    "70m": (6, 512, 8, 64, 50_304),
    "160m": (12, 768, 12, 64, 50_304),
    "410m": (24, 1024, 16, 64, 50_304),
    "1b": (16, 2048, 8, 256, 50_304),
    "1.4b": (24, 2048, 16, 128, 50_304),
    "2.8b": (32, 2560, 32, 80, 50_304),
    "6.9b": (32, 4096, 32, 128, 50_432),
    "12b": (36, 5120, 40, 128, 50_688),
}
LAPTOP = {  # 2,048 words: layers (12 D^2 + 13 D) + 2 D, and 2 x 2,048 x D
    "156k": 2 * (12 * 32**2 + 13 * 32) + 2 * 32 + 4096 * 32,
    "412k": 3 * (12 * 64**2 + 13 * 64) + 2 * 64 + 4096 * 64,
    "841k": 4 * (12 * 96**2 + 13 * 96) + 2 * 96 + 4096 * 96,
    "1.7m": 6 * (12 * 128**2 + 13 * 128) + 2 * 128 + 4096 * 128,
}
PUBLISHED = (
    {f"pythia-{size}": total for size, (_, total) in PYTHIA.items()}
    | {f"pythia-{size}": total for size, total in LAPTOP.items()}
    | {  # sizes of the released weights, tied ones once
        "gemma-2-2b": 2_614_341_888,
        "gemma-3-1b": 999_885_952,
        "gemma-3-270m": 268_098_176,
        "gpt2": 124_439_808,
        "gpt2-large": 774_030_080,
        "gpt2-medium": 354_823_168,
        "gpt2-xl": 1_557_611_200,
        "llama-2-7b": 6_738_415_616,
        "llama-3.1-8b": 8_030_261_248,
        "llama-3.2-1b": 1_235_814_400,
        "llama-3.2-3b": 3_212_749_824,
        "mistral-7b": 7_241_732_096,
        "olmo2-1b": 1_484_916_736,
        "olmo2-7b": 7_298_617_344,
        "qwen2.5-0.5b": 494_032_768,
        "qwen2.5-1.5b": 1_543_714_304,
        "qwen3-0.6b": 596_049_920,
        "qwen3-1.7b": 1_720_574_976,
        "qwen3-4b": 4_022_468_096,
        "qwen3-8b": 8_190_735_360,
        "smollm2-1.7b": 1_711_376_384,
        "smollm2-135m": 134_515_008,
        "smollm2-360m": 361_821_120,
        "smollm3-3b": 3_075_098_624,
    }
)


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_has_the_published_number_of_parameters(name):
    config = preset(name)
    with torch.device("meta"):
        model = Model(config)
    assert model.num_parameters == num_parameters(config) == PUBLISHED[name]


@pytest.mark.parametrize("size", PYTHIA)
def test_pythia_without_embeddings_has_the_published_size(size):
    config = preset(f"pythia-{size}")
    assert num_parameters(config) - num_embedding_parameters(config) == PYTHIA[size][0]


@pytest.mark.parametrize("size", SHAPES)
def test_pythia_has_the_published_architecture(size):
    """What no number of parameters says: heads, how much of them is rotated and by which base, and how a block adds up."""
    config = preset(f"pythia-{size}")
    assert (config.num_layers, config.hidden_size, config.num_heads, config.head_dim, config.vocab_size) == SHAPES[size]
    assert (config.num_kv_heads, config.intermediate_size) == (config.num_heads, 4 * config.hidden_size)
    assert (config.rotary_dim, config.rope_theta, config.positions) == (config.head_dim // 4, 10_000, "rotary")
    assert (config.is_parallel, config.norm, config.norm_eps, config.norm_place) == (True, "layer", 1e-5, "before")
    assert (config.activation, config.is_gated, config.tie_head, config.max_seq_len) == ("gelu", False, False, 2048)
    layers, width, *_, words = SHAPES[size]
    assert num_parameters(config) == layers * (12 * width**2 + 13 * width) + 2 * width + 2 * words * width


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_can_be_written_in_the_words_of_its_family(name):
    assert to_json(preset(name))["model_type"] == preset(name).family


def test_an_unknown_preset_suggests_a_name():
    with pytest.raises(ConfigError, match="there is no preset 'pythia160m'; did you mean 'pythia-160m'"):
        preset("pythia160m")
