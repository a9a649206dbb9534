"""Moving to a device: updates on torch's device without memory find tensors that were left behind. No GPU kernel is run."""

from dataclasses import fields
from itertools import pairwise

import pytest
import torch

from tests.learn.objective_cases import CASES, LONGEST
from tests.nn.tiny import tiny_config, tiny_model
from trivium.core.types import example
from trivium.data.pack import pack
from trivium.learn.reduce import Counts
from trivium.nn import kernels
from trivium.nn.batch import Batch
from trivium.nn.cache import Cache
from trivium.nn.graphs import why_not_graphs
from trivium.nn.model import Model
from trivium.train.annotate import column_of, logprobs
from trivium.train.trainer import Loss

META = torch.device("meta")


@pytest.mark.parametrize("name", CASES)
def test_an_update_elsewhere_leaves_no_tensor_on_the_cpu(name, monkeypatch):
    """Torch refuses to mix the two, but for single numbers and embedded tokens."""
    case = CASES[name]
    monkeypatch.setattr(Batch, "pairs", lambda _, x_N: (x_N[0::2], x_N[1::2]))  # it asks for values, to see that groups are pairs
    batches = pack(case.groups(4), rows=4, length=2 * LONGEST)
    reference = case.reference()
    module = Loss(case.model().to(META), case.objective, reference=reference and reference.to(META))
    loss, metrics = module(batches[0].to(META), Counts.of(batches, max_length=5))
    loss.backward()
    assert {x.device for pair in metrics.values() for x in pair} | {loss.device} == {META}


def packed_batch() -> Batch:
    [batch] = pack([(example([1, 2, 3], values=[0.0, 1, 2]),), (example([4, 5], values=[0.0, 1]),)], rows=1, length=8)
    return batch


def test_every_tensor_of_a_batch_moves():
    moved = packed_batch().to(META)
    tensors = [x for one in fields(moved) if isinstance(x := getattr(moved, one.name), torch.Tensor)] + list(moved.columns.values())
    assert len(tensors) == 9
    assert {x.device for x in tensors} == {META}


def test_a_cache_is_where_it_is_told_to_be():
    cache = Cache(tiny_config(), 2, 8, torch.float32, META)
    assert cache.move_to(torch.zeros(2, 3, dtype=torch.int64, device=META)).device == META
    keys, _ = cache.extend(0, *[torch.zeros(2, 1, 3, 4, device=META)] * 2)
    assert keys.device == META


def test_document_starts_are_where_sequences_change_and_padding_is_one_more():
    [batch] = pack([(example([1, 2, 3]),), (example([4, 5]),), (example([6] * 6),)], rows=2, length=8)
    assert batch.starts_D.tolist() == [0, 3, 5, 8, 14, 16, 16, 16]


def plain_varlen(query, key, value, starts_q, starts_k, longest_q, longest_k, *, scale, window_size):
    """What the kernel computes, document by document."""
    assert window_size == (-1, 0)  # causal
    parts = []
    for start, end in pairwise(dict.fromkeys(starts_q.tolist())):
        assert end - start <= longest_q
        q, k, v = (x[start:end].transpose(0, 1) for x in (query, key, value))
        parts.append(
            torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(0, 1) if end > start else q.transpose(0, 1)
        )
    return torch.cat(parts)


def test_documents_give_what_the_mask_gives(monkeypatch):
    model, batch = tiny_model(), packed_batch()
    masked = model.hidden(batch)
    monkeypatch.setattr("trivium.nn.model.why_masks", lambda *_: None)
    monkeypatch.setattr(kernels, "varlen_attn", plain_varlen)
    real = batch.sequence_BL < batch.num_sequences
    torch.testing.assert_close(model.hidden(batch)[real], masked[real], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("options", [{"sliding_window": 4}, {"attention_softcap": 5.0}])
def test_a_model_that_slides_or_bounds_its_scores_keeps_the_mask(options, monkeypatch):
    monkeypatch.setattr("trivium.nn.model.why_masks", lambda *_: None)
    assert tiny_model().why_masks() is None
    assert "bounded or slides" in tiny_model(**options).why_masks()


@pytest.mark.parametrize(
    ("device", "dtype", "reason"),
    [
        ("cpu", torch.bfloat16, "no varlen attention on cpu"),
        ("mps", torch.bfloat16, "on mps"),
        ("cuda", torch.float32, "not in torch.float32"),
    ],
)
def test_why_packed_rows_need_a_mask_is_said(device, dtype, reason):
    assert reason in kernels.why_masks(torch.device(device), dtype)


def test_without_a_varlen_kernel_the_version_is_named(monkeypatch):
    monkeypatch.setattr(kernels, "varlen_attn", None)
    assert torch.__version__ in kernels.why_masks(torch.device("cuda"), torch.bfloat16)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch looks at it while tracing
def test_the_whole_trunk_is_one_graph_with_the_same_gradients(monkeypatch):
    def gradients(model: Model) -> list[torch.Tensor]:
        model.hidden(packed_batch()).square().sum().backward()
        return [parameter.grad for parameter in model.trunk.parameters() if parameter.grad is not None]

    whole = tiny_model()
    monkeypatch.setattr(whole, "_compiled", torch.compile(whole.trunk.forward, fullgraph=True, dynamic=False, backend="aot_eager"))
    torch.testing.assert_close(gradients(whole), gradients(tiny_model()), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("device", "parameters", "reason"),
    [("cuda", 29_999_999, None), ("cuda", 30_000_000, "30M parameters keep the GPU busy"), ("mps", 1, "there are none on mps")],
)
def test_small_models_are_replayed_on_a_gpu(device, parameters, reason):
    found = why_not_graphs(torch.device(device), parameters)
    assert found is None if reason is None else reason in found


@pytest.mark.parametrize("reason", [None, "there are none on meta"])
def test_how_a_model_is_compiled_is_said(monkeypatch, reason):
    asked = []
    monkeypatch.setattr(torch, "compile", lambda _, **options: asked.append(options))
    monkeypatch.setattr("trivium.nn.model.why_not_graphs", lambda *_: reason)
    model = tiny_model().to(META)
    words = "without a CUDA graph (there are none on meta)" if reason else "as a CUDA graph"
    assert model.compile_training() == f"all blocks at once, {words}"
    assert asked == [{"fullgraph": True, "dynamic": False, "mode": None if reason else "reduce-overhead"}]
    assert model.is_replayed == (reason is None)


def test_what_a_model_says_comes_back_to_the_cpu():
    [column] = column_of(tiny_model(), [example([1, 2, 3])], logprobs, rows=1, length=4)
    assert column.shape == (3,)
