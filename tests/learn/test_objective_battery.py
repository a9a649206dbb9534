"""What every objective must hold to, whoever wrote it: the eight invariants of the project's methods, over one table."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.learn.objective_cases import CASES, LONGEST, Case
from trivium.core.errors import DataError
from trivium.core.types import Example, Group
from trivium.data.pack import empty_batch, pack
from trivium.learn import objectives
from trivium.learn.objectives import policy, preference
from trivium.learn.reduce import Counts
from trivium.nn.batch import Batch
from trivium.nn.model import Model
from trivium.nn.outputs import Outputs
from trivium.train.annotate import column_of, logprobs
from trivium.train.trainer import Trainer


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


def padded(groups: list[Group]) -> list[Batch]:
    """One micro-batch, one sequence a row."""
    return pack(groups, rows=sum(map(len, groups)), length=LONGEST)


def assert_same_gradients(case: Case, one: list[Batch], other: list[Batch]) -> None:
    loss, gradients = case.gradients(one)
    other_loss, other_gradients = case.gradients(other)
    norm = float(torch.stack([gradient.norm() for gradient in gradients.values()]).norm())
    assert norm > 1e-3
    # 1e-6 of the whole gradient: the squared loss of IPO has gradients above 1, and fp32 keeps 7 digits of each
    torch.testing.assert_close((other_loss, other_gradients), (loss, gradients), rtol=1e-6, atol=1e-6 * max(1.0, norm))


def own_readings(trainer: Trainer, batch: Batch) -> Batch:
    """The batch whose columns say what the model itself says now."""
    with torch.no_grad():
        out = Outputs(trainer.model, batch)
        own = dict.fromkeys(("ref_logprobs", "old_logprobs"), out.logprobs_BL)
        if trainer.model.scalar_head is not None:
            own |= dict.fromkeys(("values", "returns"), out.values_BL)
    return replace(batch, columns={name: own.get(name, column) for name, column in batch.columns.items()})


def own_references(groups: list[Group], model: Model) -> list[Group]:
    """The groups with the model's own log-probs for the reference's."""

    def read(item: Example) -> Example:
        return item.with_columns(ref_logprobs=column_of(model, [item], logprobs, rows=1, length=LONGEST)[0])

    return [tuple(map(read, group)) for group in groups]


def test_a_policy_that_is_its_own_reference_starts_at_the_closed_form(case):
    assert bool(case.start) != bool(case.no_start)
    if case.no_start:
        pytest.skip(case.no_start)
    trainer = replace(case, reference_seed=0).trainer()
    groups = case.served(own_references(case.drawn(3), trainer.model), trainer.model)
    [batch] = [own_readings(trainer, batch) for batch in pack(groups, rows=6, length=20)]
    report, expected = trainer.step(0, [batch]), {name: x(batch) if callable(x) else x for name, x in case.start.items()}
    assert {name: report[name] for name in expected} == pytest.approx(expected, rel=2.4e-7, abs=1e-7)  # two units of the last place in fp32


def test_padding_and_order_change_nothing(case):
    groups = case.groups(4)
    assert_same_gradients(case, padded(groups), pack(groups[::-1], rows=sum(map(len, groups)) + 2, length=LONGEST + 1, pad=3))


def test_packed_rows_give_what_padded_rows_give(case):
    groups = case.groups(4)
    one, other = padded(groups), pack(groups, rows=4, length=40)
    assert not one[0].is_packed
    assert other[0].is_packed
    assert_same_gradients(case, one, other)


def test_micro_batches_give_what_one_batch_gives(case):
    groups = case.groups(6)
    cut = pack(groups, rows=4, length=LONGEST)
    assert len(cut) > 1
    assert_same_gradients(case, padded(groups), cut)


def test_what_is_measured_is_one_number_however_a_step_is_cut(case):
    groups = case.groups(6)
    cut = pack(groups, rows=4, length=LONGEST)
    whole, parts = case.trainer().step(0, padded(groups)), case.trainer().step(0, cut)
    assert parts == pytest.approx(whole, rel=1e-5, abs=1e-6)


def test_a_group_is_never_cut(case):
    groups = case.groups(6)
    cut = pack(groups, rows=4, length=LONGEST)
    sizes = [count for batch in cut for count in torch.bincount(batch.group_N, minlength=batch.num_groups).tolist()]
    assert sizes == [len(group) for group in groups]


def test_what_the_mask_hides_changes_nothing(case):
    groups = case.groups(3)
    assert_same_gradients(case, padded(groups), padded([tuple(map(scramble_hidden, group)) for group in groups]))


def scramble_hidden(item: Example) -> Example:
    """Other numbers in every column where the mask is 0, and another token behind the last that counts."""
    hidden, tokens = item.loss_mask == 0, item.tokens.copy()
    if hidden[-1]:
        tokens[-1] = (tokens[-1] + 1) % 16
    return replace(item, tokens=tokens).with_columns(
        **{name: np.where(hidden, np.float32(-200), column) for name, column in item.columns.items()}
    )


def test_what_the_mask_shows_changes_the_loss(case):
    [*others, group] = case.groups(3)
    item = group[-1]
    place = int(np.flatnonzero(item.loss_mask)[-1])
    changed = case_label_changed(case, item, place)
    loss, _ = case.gradients(padded([*others, group]))
    other_loss, _ = case.gradients(padded([*others, (*group[:-1], changed)]))
    assert abs(float(loss - other_loss)) > 1e-5


def case_label_changed(case: Case, item: Example, place: int) -> Example:
    if case.label in ("tokens", "before"):
        tokens, place = item.tokens.copy(), place - (case.label == "before")
        tokens[place] = (tokens[place] + 1) % 16
        return replace(item, tokens=tokens)
    column = item.columns[case.label].copy()
    column[place] = -column[place] - 1.5
    return item.with_columns(**{case.label: column})


def test_eight_examples_are_learned_by_heart(case):
    trainer, groups = case.trainer(lr=0.03), case.drawn(8)
    for step in range(150):
        report = trainer.step(step, pack(case.served(groups, trainer.model), rows=8, length=32))
    name, low, high = case.goal
    assert low <= report[name] <= high


def test_gradients_agree_with_central_differences(case):
    if case.has_constants:
        pytest.skip("a part of it counts as a constant; what its slope is, is checked by hand in test_surrogates.py")
    trainer, step = case.trainer(case.model(dtype=torch.float64)), 1e-6
    batches = pack(case.groups(2), rows=4, length=24)
    _, gradients = trainer.gradients(batches)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in trainer.model.named_parameters():
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        there, back = loss_at(trainer, batches, parameter, step * direction), loss_at(trainer, batches, parameter, -step * direction)
        slope = (gradients[name] * direction).sum() if name in gradients else torch.zeros((), dtype=torch.float64)
        torch.testing.assert_close(slope, (there - back) / (2 * step), rtol=1e-6, atol=1e-7, msg=lambda text, name=name: f"{name}: {text}")


def loss_at(trainer: Trainer, batches: list[Batch], parameter: torch.Tensor, move: torch.Tensor) -> torch.Tensor:
    """The loss with one weight moved; the weight is put back."""
    before = parameter.detach().clone()
    with torch.no_grad():
        parameter += move
        counts = Counts.of(batches, trainer.max_length)
        loss = sum(trainer.loss(batch, counts)[0] for batch in batches)
        parameter.copy_(before)
    return loss


def test_a_run_that_was_stopped_ends_with_the_same_bits(case):
    batches = pack(case.groups(3), rows=6, length=16)
    straight, first, second = case.trainer(), case.trainer(), case.trainer(case.model(seed=9))
    for step in range(6):
        straight.step(step, batches)
    for step in range(3):
        first.step(step, batches)
    second.load_state(first.state())
    for step in range(3, 6):
        second.step(step, batches)
    torch.testing.assert_close(second.state(), straight.state(), rtol=0, atol=0)


def test_a_missing_column_is_named_with_who_writes_it(case):
    groups = case.groups(2)
    if not case.objective.needs:
        pytest.skip("it reads no column")
    for column in case.objective.needs:
        bare = [
            tuple(replace(item, columns={name: x for name, x in item.columns.items() if name != column}) for item in group)
            for group in groups
        ]
        with pytest.raises(DataError, match=f"needs the column '{column}'.*written by"):
            case.trainer().step(0, padded(bare))


def test_a_batch_that_counts_nothing_gives_nothing(case):
    loss, gradients = case.gradients([empty_batch(2, LONGEST)])
    assert float(loss) == 0
    assert all(not gradient.any() for gradient in gradients.values())


def test_answers_that_are_masked_whole_leave_a_finite_loss_and_no_gradient(case):
    if case.objective.reduction == "group" and case.has_scalar:
        pytest.skip("a ranking reads the score at the last token, whatever the mask says")
    masked = [tuple(replace(item, loss_mask=np.zeros_like(item.loss_mask)) for item in group) for group in case.groups(2)]
    loss, gradients = case.gradients(padded(masked))
    assert torch.isfinite(loss)
    assert float(loss) == 0 or case.objective.reduction == "group"
    assert all(not gradient.any() for gradient in gradients.values())


def test_what_looks_at_a_whole_step_has_baselines_that_differ_from_0():
    for case in (case for case in CASES.values() if isinstance(case.objective, preference.StepWide)):
        assert all(item.columns["baseline"].any() for group in case.groups(4) for item in group)


def test_every_objective_is_in_the_table():
    public = {value for room in (objectives, policy, preference) for value in vars(room).values() if hasattr(value, "kind")}
    assert public == {type(case.objective) for case in CASES.values()}
