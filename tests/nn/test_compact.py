"""A batch without padding and repeated beginnings says what the whole batch says."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.nn.io_models import SHAPES
from trivium.core.types import example
from trivium.data.pack import pack
from trivium.nn.model import Model
from trivium.nn.native import block
from trivium.nn.native.compact import LEAST, Compact, taken_over
from trivium.nn.native.library import why_not

V = 64
pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


def sequences(*lengths: tuple[int, int]) -> list:
    """Each begins with so many tokens of one prompt and goes on with so many of its own."""
    draw = np.random.default_rng(1)
    prompt = draw.integers(0, V, max(common for common, _ in lengths))
    return [example([*prompt[:common], (number + prompt[common % len(prompt)]) % V, *draw.integers(0, V, own - 1)])
            for number, (common, own) in enumerate(lengths, 1)]  # fmt: skip


def test_what_is_computed_by_hand():
    common = np.arange(16)
    groups = [(example([*common, 20, 21]), example([*common, 30, 31, 32])), (example([50, 51]),)]
    [batch] = pack(groups, rows=2, length=32)
    found = Compact.of(batch, is_shared=True)
    assert found.tokens_1U.tolist() == [[*range(16), 20, 21, 30, 31, 32, 50, 51]]
    assert found.position_1U.tolist() == [[*range(18), 16, 17, 18, 0, 1]]
    assert found.sight.start_BL.tolist() == [[0] * 21 + [21, 21]]
    assert found.sight.skip_from_BL[0, 18:21].tolist() == [16] * 3
    assert found.sight.skip_to_BL[0, 18:21].tolist() == [18] * 3
    place = found.place_P.view_as(batch.tokens_BL)
    assert place[1, :19].tolist() == [*range(16), 18, 19, 20]
    assert place[0, 18:20].tolist() == [21, 22]
    alone = Compact.of(batch, is_shared=False)
    assert alone.tokens_1U.shape == (1, 18 + 19 + 2)
    assert not alone.sight.skip_to_BL.any()


def test_a_sequence_that_is_all_in_another_costs_nothing():
    item = example(np.arange(20))
    [batch] = pack([(item, item)], rows=2, length=20)
    found = Compact.of(batch, is_shared=True)
    assert found.tokens_1U.tolist() == [list(range(20))]
    assert torch.equal(*found.place_P.view(2, 20))


def test_the_ends_that_nobody_reads_are_left_out_by_hand():
    common = np.arange(16)
    groups = (
        [(example([*common, 20, 21, last]),) for last in (1, 2)] + [(example([*common, 30, last]),) for last in (1, 2)] + [(example([50]),)]
    )
    [batch] = pack(groups, rows=4, length=19)
    found = Compact.of(replace(batch, has_unread_ends=True), is_shared=True)
    assert found.tokens_1U.tolist() == [[*range(16), 20, 21, 30, 50]]
    place = found.place_P.view_as(batch.tokens_BL)
    assert place[0, :18].tolist() == place[1, :18].tolist() == list(range(18))
    assert place[2, :17].tolist() == place[3, :17].tolist() == [*range(16), 18]
    assert place[2, 18] == 19  # in the free place of a row
    assert found.sight.skip_from_BL[0, 18] == 16
    assert found.sight.skip_to_BL[0, 18] == 18


def choices(description: int, question: int, number: int, *, item: int) -> list[np.ndarray]:
    """The tokens of an item: a description that all items have, its own question, and so many choices of three tokens."""
    asked = np.concatenate([np.arange(description), 1000 * item + np.arange(question)])
    return [np.concatenate([asked, 1000 * item + 100 * choice + np.arange(3)]) for choice in range(1, number + 1)]


@pytest.mark.parametrize(
    ("description", "number", "expected"),
    [
        (LEAST - 1, 3, [0, 23, 23, 0, 23, 23]),  # what items have in common is too little to count
        (5, 3, [0, 25, 25, 0, 25, 25]),  # five tokens are read again, and twice twenty not
        (60, 3, [0, 80, 80, 60, 60, 60]),  # sixty would be, for twice twenty
        (60, 5, [0, *[80] * 4, 0, *[80] * 4]),  # and are, for four times twenty
    ],
)
def test_an_item_is_read_as_a_whole_if_its_choices_save_more_than_that(description, number, expected):
    found = list(taken_over([*choices(description, 20, number, item=1), *choices(description, 20, number, item=2)]))
    assert found == [(common, False) for common in expected]


def test_letters_after_one_context_leave_the_leader_as_it_is():
    contexts = [np.concatenate([np.arange(6), 100 * item + np.arange(20)]) for item in (1, 2)]
    found = list(taken_over([contexts[0]] * 4 + [contexts[1]] * 4))
    assert found == [(0, False), *[(26, True)] * 3, (6, False), *[(26, True)] * 3]


def test_short_beginnings_count_too():
    groups = [(example([1, 2, 3, 4, 5, 6]), example([1, 2, 3, 4, 7])), (example([1, 2, 3, 9]),)]
    [batch] = pack(groups, rows=3, length=6)
    assert Compact.of(batch, is_shared=True).tokens_1U.tolist() == [[1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 9]]


def states_and_slopes(model: Model, batch, probe_BLD: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    hidden_BLD = model.hidden(batch)
    counted_BL1 = (batch.sequence_BL < batch.num_sequences)[..., None]
    (hidden_BLD * probe_BLD * counted_BL1).sum().backward()
    return {"states": (hidden_BLD * counted_BL1).detach()} | {
        name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None
    }


@pytest.mark.parametrize("family", ["llama", "qwen3", "gpt_neox", "mistral"])
def test_states_and_slopes_are_those_of_the_whole_batch(family):
    model = Model(replace(SHAPES[family], head_dim=16, max_seq_len=256, vocab_size=V))
    torch.manual_seed(2)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    first, second, third, *rest = sequences((90, 70), (90, 75), (70, 130), (0, 33), (0, 8), (20, 9), (20, 5), (5, 4))
    [batch] = pack([(first, second, third), *((item,) for item in rest)], rows=4, length=256)
    assert (
        len(Compact.of(batch, is_shared=True).tokens_1U[0])
        == sum(len(item.tokens) for item in (first, second, third, *rest)) - 90 - 70 - 20 - 5
    )
    probe_BLD = torch.randn(*batch.tokens_BL.shape, model.config.hidden_size)
    expected = states_and_slopes(model, batch, probe_BLD)
    assert block.use(model.trunk) is None
    found = states_and_slopes(model, batch, probe_BLD)
    size = sum(float(value.square().sum()) for name, value in expected.items() if name != "states") ** 0.5
    for name, value in expected.items():
        unit = float(value.norm()) if name == "states" else size
        torch.testing.assert_close(found[name] / unit, value / unit, atol=1e-6, rtol=0, msg=lambda text, name=name: f"{name}: {text}")
