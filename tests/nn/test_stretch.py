"""A stretch of a row, cut without any other rank: what its queries see, and which tokens its states predict."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from trivium.nn import kernels
from trivium.nn.heads import after_states, predicted_by
from trivium.nn.kernels import document_starts
from trivium.nn.stretch import Stretch
from trivium.nn.transformer import attend, block_diagonal

ROWS = {
    "three documents": [[0] * 5 + [1] * 7 + [2] * 9],
    "two rows, one padded": [[0] * 10 + [1] * 11, [2] * 3 + [3] * 4 + [4] * 14],
    "shorter than the ranks": [[0, 1]],
}


@dataclass(frozen=True)
class Peers:
    """Stands for a process group."""

    place: int
    number: int

    def rank(self) -> int:
        return self.place

    def size(self) -> int:
        return self.number


def varlen(query: Tensor, key: Tensor, value: Tensor, starts: Tensor, key_starts: Tensor, *_: int, **__: object) -> Tensor:
    """What the kernel of a GPU computes: the last query of a document stands at its last key."""
    mixed = torch.zeros_like(query)
    for number in range(len(starts) - 1):
        q, k = slice(starts[number], starts[number + 1]), slice(key_starts[number], key_starts[number + 1])
        queries, keys = q.stop - q.start, k.stop - k.start
        if queries:
            sees = torch.arange(keys) <= torch.arange(queries)[:, None] + keys - queries
            heads = (x.transpose(0, 1)[None] for x in (query[q], key[k], value[k]))
            mixed[q] = attend(*heads, sees)[0].transpose(0, 1)
    return mixed


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_every_query_sees_what_it_sees_in_the_whole_row(monkeypatch, rows, ranks):
    monkeypatch.setattr(kernels, "varlen_attn", varlen)
    sequence = torch.tensor(rows)
    length = sequence.shape[1]
    query, key, value = torch.randn(3, len(rows), 2, length, 4, generator=torch.Generator().manual_seed(0))
    whole = attend(query, key, value, block_diagonal(sequence))
    for rank in range(ranks):
        stretch = Stretch(Peers(rank, ranks), length)
        own = stretch.own(query.transpose(1, 2)).transpose(1, 2)
        keys, values = (torch.nn.functional.pad(x, (0, 0, 0, stretch.size * ranks - length))[:, :, : stretch.end] for x in (key, value))
        there = whole[:, :, stretch.start : min(stretch.end, length)]
        for sight in (stretch.mask(sequence, query.device), stretch.documents(document_starts(sequence))):
            found = attend(own, keys, values, sight)
            torch.testing.assert_close(found[:, :, : there.shape[2]], there)
            assert found.isfinite().all()


def test_a_row_that_is_one_sequence_is_causal():
    stretch = Stretch(Peers(1, 2), 5)
    assert stretch.mask(None, torch.device("cpu"))[0, 0].int().tolist() == [[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1]]


def test_the_tokens_that_states_predict_by_hand():
    """Two rows of 5, of which each rank has 3 states: the token after the third is the other rank's, and is predicted here."""
    tokens, scored = torch.arange(10).view(2, 5), torch.tensor([1, 3, 4, 8])
    first, second = predicted_by(tokens, scored, 0, 3), predicted_by(tokens, scored, 3, 3)
    assert first[0].tolist() == [[0, 1, 2, 3], [5, 6, 7, 8]]
    assert first[0].flatten()[first[1]].tolist() == [1, 3, 8]
    assert second[0].tolist() == [[3, 4, 0, 0], [8, 9, 0, 0]]
    assert second[0].flatten()[second[1]].tolist() == [4]
    assert after_states(torch.tensor([[1.0, 2.0]])).tolist() == [[0, 1, 2]]
