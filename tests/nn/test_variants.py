"""The pieces that only trivium reads: each against its formula by hand, off without a trace, refused by what cannot express it."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.nn.io_models import FILES, TOKENIZER, V, logits, ours
from tests.nn.tiny import tiny_config, tiny_model
from trivium.core.errors import ConfigError
from trivium.nn.config import llama
from trivium.nn.flops import flops_per_token, num_parameters
from trivium.nn.io.directory import load_model, read_config, save_model
from trivium.nn.io.gguf_write import write_gguf
from trivium.nn.model import Model, initialise
from trivium.nn.scaling import scaled_parameters
from trivium.nn.transformer import MLP, ValueEmbedding
from trivium.nn.variants import SPEEDRUN, TRAITS, with_traits
from trivium.stages.use.exchange import export_model

PLAIN = llama(vocab_size=V, depth=4, width=64, max_seq_len=32)
TOKENS = torch.tensor([[3, 5, 7]])


def test_a_squared_relu_by_hand():
    mlp = MLP(tiny_config(hidden_size=2, intermediate_size=2, activation="relu2", is_gated=False))
    with torch.no_grad():
        mlp.up.weight.copy_(torch.tensor([[1.0, 2.0], [1.0, -2.0]]))
        mlp.down.weight.copy_(torch.tensor([[1.0, 10.0], [0.5, 0.0]]))
        # up gives 5 and -3; of these relu^2 leaves 25 and 0
        torch.testing.assert_close(mlp(torch.tensor([1.0, 2.0])), torch.tensor([25.0, 12.5]))


def test_a_value_embedding_by_hand():
    embedding = ValueEmbedding(tiny_config(vocab_size=2, num_kv_heads=2, head_dim=2))
    with torch.no_grad():
        embedding.table.weight.copy_(torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8]]))
        embedding.scale.weight.copy_(torch.tensor([10.0, -1.0]))
    assert embedding(torch.tensor([[1, 0]])).tolist() == [[[50, 60, -7, -8], [10, 20, -3, -4]]]


def test_a_lone_token_gives_what_its_value_and_its_value_embedding_give():
    """A sequence of one looks at itself alone, so attention is out(value + embedding), whatever its query and key are."""
    model = tiny_model(num_layers=1, num_kv_heads=2, has_value_embeddings=True)
    trunk, token, place = model.trunk, torch.tensor([[4]]), torch.tensor([[0]])
    [block] = trunk.blocks
    x = block.attention_norm(trunk.embed(token))
    rope = (trunk.cos[:1][None], trunk.sin[:1][None])
    expected = block.attention.out(block.attention.value(x) + trunk.value_embeds["0"](token))
    torch.testing.assert_close(block.attention(x, rope, None, None, 0, *trunk.added_values(token, torch.float32)), expected)
    hidden = trunk(token, place)
    with torch.no_grad():
        trunk.value_embeds["0"].table.weight[4] += 1
    assert not torch.equal(trunk(token, place), hidden)


@pytest.mark.parametrize(("num_layers", "layers"), [(1, ["0"]), (4, ["1", "3"]), (5, ["0", "2", "4"])])
def test_every_other_layer_has_value_embeddings_the_last_one_too(num_layers, layers):
    assert list(Model(tiny_config(num_layers=num_layers, has_value_embeddings=True)).trunk.value_embeds) == layers


def test_residual_scalars_by_hand():
    """Blocks that add nothing leave x1 = 2 x0 + 0.5 x0 and x2 = 3 x1 + 0.25 x0 of the normed embedding x0."""
    trunk = initialise(Model(tiny_config(has_residual_scalars=True)), 1).trunk
    assert (trunk.stream_scale.weight.tolist(), trunk.embed_scale.weight.tolist()) == ([1, 1], pytest.approx([0.1, 0.1]))
    trunk.final_norm = nn.Identity()
    with torch.no_grad():
        trunk.stream_scale.weight.copy_(torch.tensor([2.0, 3.0]))
        trunk.embed_scale.weight.copy_(torch.tensor([0.5, 0.25]))
    x = trunk.embed(TOKENS)
    normed = x / (x.square().mean(-1, keepdim=True) + trunk.config.norm_eps).sqrt()
    torch.testing.assert_close(trunk(TOKENS, torch.arange(3)[None]), 7.75 * normed)


def test_what_is_off_leaves_no_trace():
    off = initialise(Model(PLAIN), 1)
    assert not [name for name in off.state_dict() if "scale" in name or "value_embeds" in name]
    on = initialise(Model(replace(PLAIN, has_value_embeddings=True)), 1)
    assert all(torch.equal(on.state_dict()[name], tensor) for name, tensor in off.state_dict().items())
    for embedding in on.trunk.value_embeds.values():
        nn.init.zeros_(embedding.table.weight)
    for model in (off, on):
        nn.init.normal_(model.trunk.blocks[3].attention.out.weight, generator=torch.Generator().manual_seed(1))
    assert torch.equal(logits(on, TOKENS), logits(off, TOKENS))


def test_the_default_variant_is_the_plain_shape_and_the_other_one_our_own():
    assert with_traits(PLAIN, TRAITS["standard"]) == PLAIN
    fast = with_traits(PLAIN, TRAITS["speedrun"])
    assert (fast.family, fast.intermediate_size) == ("trivium", 256)
    assert SPEEDRUN.items() <= vars(fast).items()
    assert with_traits(PLAIN, {"logit_softcap": 15.0}).intermediate_size == PLAIN.intermediate_size


def test_value_embeddings_cost_numbers_but_no_work_and_do_not_lengthen_the_run():
    more = replace(PLAIN, has_value_embeddings=True)
    assert num_parameters(more) - num_parameters(PLAIN) == 2 * (V * 64 + 1)  # two tables, and a number for the one head
    assert flops_per_token(more, 32) == flops_per_token(PLAIN, 32)
    assert scaled_parameters(more) - scaled_parameters(PLAIN) == 2


def test_our_own_says_what_it_is_and_comes_back(tmp_path):
    save_model(tmp_path / "model", ours("trivium"), **FILES)
    fields = json.loads((tmp_path / "model" / "config.json").read_text())
    assert (fields["model_type"], fields["hidden_act"], fields["gated_mlp"]) == ("trivium", "relu2", False)
    assert "no other tool" in fields["read_by"]
    assert read_config(tmp_path / "model") == ours("trivium").config
    before = (tmp_path / "model" / "model.safetensors").read_bytes()
    save_model(tmp_path / "again", load_model(tmp_path / "model"), **FILES)
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("to", ["gguf", "hf"])
def test_our_own_is_not_exported(to, tmp_path):
    save_model(tmp_path / "model", ours("trivium"), **FILES)
    with pytest.raises(ConfigError, match="only trivium reads .* pre-train with variant=standard for other tools"):
        export_model(tmp_path / "model", tmp_path / "out", to=to)
    assert not (tmp_path / "out").exists()


def test_our_own_has_no_words_in_gguf(tmp_path):
    with pytest.raises(ConfigError, match="a trivium model cannot be written as GGUF here; these can: llama, qwen2, qwen3"):
        write_gguf(tmp_path / "model.gguf", ours("trivium"), TOKENIZER, FILES["tokenizer_config"], dtype="f32")
