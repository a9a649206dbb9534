"""Isolation of packed documents, positions, the cache, and weights as a function of the seed."""

import numpy as np
import pytest
import torch

from tests.nn.tiny import VOCAB, tiny_config, tiny_model
from trivium.core.errors import ConfigError, DataError
from trivium.core.types import example
from trivium.data.pack import empty_batch, pack
from trivium.nn import transformer
from trivium.nn.cache import Cache
from trivium.nn.config import LinearScaling, Llama3Scaling, YarnScaling, llama
from trivium.nn.model import Model, initialise
from trivium.nn.outputs import Outputs
from trivium.nn.rope import frequencies, rope_table, rotate
from trivium.nn.transformer import Norm, block_diagonal, why_not_compile

NEOX = {
    "family": "gpt_neox",
    "norm": "layer",
    "activation": "gelu",
    "is_gated": False,
    "is_parallel": True,
    "has_qk_norm": False,
    "rotary_share": 0.5,
    "has_attention_bias": True,
    "has_output_bias": True,
    "has_mlp_bias": True,
}
GEMMA = {
    "num_layers": 3,
    "layer_kinds": ("sliding", "full", "unrotated"),
    "sliding_window": 3,
    "rope_local_theta": 100.0,
    "norm": "rms_plus_one",
    "norm_place": "both",
    "attention_softcap": 2.0,
    "logit_softcap": 3.0,
    "has_scaled_embedding": True,
    "query_pre_attn_scalar": 3,
}
LEARNED = {"positions": "learned", "has_qk_norm": False, "sliding_window": 4, "norm": "layer"}
WIDE = {"norm_place": "after", "qk_norm_over": "width"}
OWN = {"activation": "relu2", "is_gated": False, "has_value_embeddings": True, "has_residual_scalars": True}
TRAITS = {"qwen3": {}, "neox": NEOX, "gemma": GEMMA, "learned positions": LEARNED, "olmo2": WIDE, "our own": OWN}


def hidden(model: Model, *documents: list[int]) -> list[torch.Tensor]:
    """Hidden states of each document when all lie in one row."""
    [batch] = pack([(example(document),) for document in documents], rows=1, length=40)
    with torch.no_grad():
        states = model.hidden(batch)[0]
    return [states[end + 1 - len(document) : end + 1] for document, end in zip(documents, batch.last_N.tolist(), strict=True)]


@pytest.mark.parametrize("options", TRAITS.values(), ids=TRAITS)
def test_a_document_does_not_see_its_neighbour_in_the_row(options):
    model = tiny_model(**options)
    document = [6, 7, 8, 9, 10, 11, 12]
    _, before = hidden(model, [1, 2, 3, 4, 5], document)
    changed, after = hidden(model, [9, 2, 12, 4, 0], document)
    assert torch.equal(before, after)
    [alone] = hidden(model, document)
    torch.testing.assert_close(after, alone, rtol=0, atol=1e-6)
    assert not torch.equal(changed, hidden(model, [1, 2, 3, 4, 5], document)[0])


def test_a_token_does_not_see_what_comes_after_it():
    model = tiny_model()
    [before], [after] = hidden(model, [1, 2, 3, 4]), hidden(model, [1, 2, 3, 9])
    assert torch.equal(before[:3], after[:3])
    assert not torch.equal(before[3], after[3])


def test_a_block_diagonal_mask_by_hand():
    mask = block_diagonal(torch.tensor([[0, 0, 1, 2]]))[0, 0]
    assert mask.int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


@pytest.mark.parametrize("length", [12, 300], ids=["written out", "fused"])
@pytest.mark.parametrize("options", [{"num_kv_heads": 2}, *TRAITS.values()], ids=["full", *TRAITS])
def test_reading_with_a_cache_is_reading_at_once(options, length):
    model = tiny_model(**options, max_seq_len=length)
    tokens = torch.from_numpy(np.random.default_rng(0).integers(0, VOCAB, (3, length)))
    position = torch.arange(length).expand(3, -1)
    with torch.no_grad():
        at_once = model.trunk(tokens, position)
        cache = Cache(model.config, 3, length, torch.float32)
        parts = [
            model.trunk(tokens[:, part], position[:, part], cache.move_to(position[:, part]), cache)
            for part in (slice(0, 5), slice(5, 6), slice(6, length))
        ]
    torch.testing.assert_close(torch.cat(parts, dim=1), at_once, rtol=0, atol=1e-5)


def test_some_rows_of_a_cache_are_read_while_others_wait_and_a_prefix_may_be_copied():
    model = tiny_model()
    tokens, position = torch.tensor([[1, 2], [3, 4], [5, 6]]), torch.arange(2).expand(3, -1)
    with torch.no_grad():
        at_once = model.trunk(torch.tensor([[5, 6, 7], [5, 6, 8]]), torch.arange(3).expand(2, -1))[:, 2]
        cache = Cache(model.config, 3, 4, torch.float32)
        model.trunk(tokens, position, cache.move_to(position), cache)
        cache.copy_prefix(2, 0, 2)
        rows, third = torch.tensor([2, 0]), torch.full((2, 1), 2)
        hidden = model.trunk(torch.tensor([[7], [8]]), third, cache.move_to(third, rows_B=rows), cache)[:, 0]
    torch.testing.assert_close(hidden, at_once, atol=1e-5, rtol=0)


@pytest.mark.parametrize("is_packed", [False, True])
def test_written_out_attention_is_the_fused_one(monkeypatch, is_packed):
    query, key, value = torch.randn(3, 2, 2, 9, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mask = block_diagonal(torch.tensor([[0] * 4 + [1] * 5, [0] * 9])) if is_packed else None
    written_out = transformer.attend(query, key, value, mask)
    monkeypatch.setattr(transformer, "SHORT", 0)
    torch.testing.assert_close(written_out, transformer.attend(query, key, value, mask), rtol=1e-12, atol=1e-12)


def test_rope_by_hand():
    cos, sin = rope_table(3, 4, theta=100.0)
    torch.testing.assert_close(cos, torch.tensor([[1.0, 1], [np.cos(1), np.cos(0.1)], [np.cos(2), np.cos(0.2)]]).float())
    turned = rotate(torch.tensor([1.0, 0, 0, 2, 9]).view(1, 1, 1, 5), cos[None, 1:2], sin[None, 1:2])
    torch.testing.assert_close(turned.flatten(), torch.tensor([np.cos(1), -2 * np.sin(0.1), np.sin(1), 2 * np.cos(0.1), 9]).float())


def test_rope_makes_products_depend_on_distance_alone():
    cos, sin = (table[None] for table in rope_table(30, 8, theta=10_000.0))
    query, key = torch.randn(2, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    products = [
        (
            rotate(query.view(1, 1, 1, 8), cos[:, a : a + 1], sin[:, a : a + 1])
            * rotate(key.view(1, 1, 1, 8), cos[:, a - 3 : a - 2], sin[:, a - 3 : a - 2])
        ).sum()
        for a in (3, 10, 29)
    ]
    torch.testing.assert_close(torch.stack(products), products[0].expand(3), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["rms", "rms_plus_one", "layer"])
def test_norms_by_hand(kind):
    x = torch.tensor([1.0, 2, 3, 6], dtype=torch.float64)
    centred = x - x.mean() if kind == "layer" else x
    torch.testing.assert_close(Norm(4, kind, 1e-5)(x), centred / (centred.pow(2).mean() + 1e-5).sqrt())


def test_a_query_sees_a_window_of_positions_of_its_own_sequence():
    model = tiny_model(num_layers=1, sliding_window=3)
    [before], [after] = hidden(model, [1, 2, 3, 4, 5]), hidden(model, [9, 2, 3, 4, 5])
    assert [torch.equal(*pair) for pair in zip(before, after, strict=True)] == [False, False, False, True, True]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [(None, "global")] * 2),
        ({"sliding_window": 4}, [(4, "global")] * 2),
        ({"sliding_window": 4, "layer_kinds": ("sliding", "full"), "rope_local_theta": 10.0}, [(4, "local"), (None, "global")]),
        ({"layer_kinds": ("full", "unrotated")}, [(None, "global"), (None, None)]),
        ({"positions": "learned", "sliding_window": 4}, [(4, None)] * 2),
    ],
)
def test_what_sets_a_layer_apart(options, expected):
    config = tiny_config(**options)
    assert [(config.layer(number).window, config.layer(number).rope) for number in range(2)] == expected


def test_a_softcap_bounds_the_logits():
    model = tiny_model(logit_softcap=0.5)
    logits = model.trunk.logits(model.trunk(torch.tensor([[1, 2, 3]]), torch.arange(3)[None]))
    assert 0.4 < logits.abs().max() < 0.5


def test_slow_rotations_are_stretched_and_fast_ones_kept():
    plain, _ = frequencies(8, 1e4, None)  # 1, 0.1, 0.01 and 0.001 radians a position
    linear, _ = frequencies(8, 1e4, LinearScaling(factor=4))
    torch.testing.assert_close(linear, plain / 4)
    turns = 1000 * plain / (2 * np.pi)  # 159, 15.9, 1.59 and 0.159
    blended, _ = frequencies(8, 1e4, Llama3Scaling(factor=4, original_max_seq_len=1000))
    keep = (turns[2] - 1) / 3
    torch.testing.assert_close(blended / plain, torch.tensor([1, 1, keep + (1 - keep) / 4, 0.25]))
    ramp, factor = frequencies(8, 1e4, YarnScaling(factor=4, original_max_seq_len=1000))  # from dimension 0.70 to 2.2
    torch.testing.assert_close(ramp / plain, torch.tensor([1, 2 / 3 + 1 / 12, 1 / 3 + 2 / 12, 0.25]))
    assert factor == pytest.approx(0.1 * np.log(4) + 1)


@pytest.mark.parametrize("options", [*TRAITS.values(), {"tie_head": True}], ids=[*TRAITS, "tied"])
def test_initial_weights_are_a_function_of_the_seed(options):
    def weights(torch_seed: int, seed: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(torch_seed)
        return initialise(Model(tiny_config(**options), has_scalar=True), seed).state_dict()

    one, same, other = weights(1, seed=5), weights(2, seed=5), weights(1, seed=6)
    torch.testing.assert_close(one, same, rtol=0, atol=0)
    assert not torch.equal(one["trunk.embed.weight"], other["trunk.embed.weight"])
    assert not torch.equal(one["trunk.blocks.0.attention.query.weight"], one["trunk.blocks.1.attention.query.weight"])


def test_blocks_are_the_identity_at_first():
    model = initialise(Model(tiny_config(**NEOX)), 1)
    x = torch.randn(1, 3, 8)
    rope = (model.trunk.cos[None, :3], model.trunk.sin[None, :3])
    assert torch.equal(model.trunk.blocks[0](x, rope, None, None, 0), x)


def test_initialise_forgets_what_the_weights_were():
    torch.testing.assert_close(
        initialise(tiny_model(**NEOX), 1).state_dict(), initialise(Model(tiny_config(**NEOX)), 1).state_dict(), rtol=0, atol=0
    )


def test_two_numbers_make_a_shape():
    config = llama(vocab_size=100, depth=3, width=192, max_seq_len=64)
    assert (config.family, config.num_heads, config.head_dim, config.intermediate_size) == ("qwen3", 3, 64, 512)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_heads": 3, "num_kv_heads": 2}, "must be a multiple"),
        ({"head_dim": 6, "rotary_share": 0.5}, "must be even"),
        ({"layer_kinds": ("full",)}, "layer_kinds has 1 words for num_layers = 2"),
        ({"layer_kinds": ("full", "sliding")}, "which need sliding_window"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        tiny_config(**options)


def test_sums_last_tokens_and_lengths_of_a_packed_batch():
    [batch] = pack([(example([1, 2, 3]), example([4, 5], [0, 0.5]))], rows=2, length=4)
    x = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8]])
    assert (batch.sum(x).tolist(), batch.last(x).tolist(), batch.lengths().tolist()) == ([5, 6], [3, 6], [2, 1])


def test_a_column_that_nobody_wrote_is_named_with_its_writer():
    [batch] = pack([(example([1, 2], values=[0, 1]),)], rows=1, length=4)
    with pytest.raises(DataError, match=r"no column 'advantages' \(it has: values\); it is written by a credit rule"):
        batch["advantages"]


def test_a_batch_without_sequences_has_every_column():
    assert not empty_batch(2, 3)["ref_logprobs"].any()


def test_outputs_are_computed_once_and_entropy_only_when_it_was_asked_for():
    [batch] = pack([(example([1, 2, 3]),)], rows=1, length=4)
    out = Outputs(tiny_model(), batch)
    assert out.hidden_BLD is out.hidden_BLD
    assert out.logprobs_BL is out.logprobs_BL
    with pytest.raises(RuntimeError, match="policy losses alone"):
        _ = out.entropy_BL
    with pytest.raises(RuntimeError, match="no scalar head"):
        _ = out.scores_BL


def test_a_compiler_that_does_not_work_is_a_reason_and_no_crash(monkeypatch):
    def broken(_):
        raise AssertionError("two of them\nare loaded")

    monkeypatch.setattr(torch, "compile", broken)
    assert why_not_compile() == "two of them are loaded"
