"""Speed against counts by hand."""

import json
import time

import pytest

from trivium.core.run import Run
from trivium.core.types import example
from trivium.nn.config import ModelConfig
from trivium.nn.flops import flops_per_token
from trivium.train.meter import Meter, Yardstick, describe_speed

CONFIG = ModelConfig(vocab_size=10, hidden_size=4, num_layers=2, num_heads=2, num_kv_heads=2, head_dim=2, intermediate_size=6)
MATRICES = 2 * (4 * 4 * 4 + 3 * 4 * 6) + 10 * 4  # two layers of four projections and three of the MLP, and the head
ATTENTION = 2 * 2 * 2 * 5  # layers x heads x head_dim x (seq_len + 1), for sequences of 4
HAND = 6 * (MATRICES + ATTENTION)  # 2 forward, 4 backward


def test_the_work_of_a_token_is_the_count_by_hand():
    assert flops_per_token(CONFIG, 4) == HAND == 2112


def test_shares_are_that_work_over_the_limits():
    figures = Yardstick(HAND, ceiling=1e6, peak=4e6).figures(tokens=500, seconds=2.0)
    assert figures == {
        "seconds": 2.0, "tokens": 500, "tokens_per_s": 250, "flops_per_s": 528_000, "ceiling_share": 0.528, "peak_share": 0.132,
    }  # fmt: skip
    assert describe_speed(figures) == "250 tokens/s, 0 GFLOP/s: 53% of the ceiling here, 13% of the data sheet"


def test_what_is_not_known_is_not_said():
    assert Yardstick().figures(10, 1.0) == {"seconds": 1.0, "tokens": 10, "tokens_per_s": 10.0}
    assert describe_speed(Yardstick(HAND).figures(500, 2.0)) == "250 tokens/s, 0 GFLOP/s"


def test_padding_is_not_counted(tmp_path, monkeypatch):
    groups = [(example([1, 2, 3]),), (example([4, 5]),)]
    with Run(tmp_path, quiet=True) as run:
        monkeypatch.setattr(time, "perf_counter", iter([10.0, 10.5]).__next__)
        Meter(run, Yardstick(HAND, ceiling=1e6)).update(1, groups)
    row = json.loads((tmp_path / "speed.jsonl").read_text())
    assert (row["tokens"], row["seconds"]) == (5, 0.5)
    assert row["ceiling_share"] == pytest.approx(HAND * 5 / 0.5 / 1e6)
