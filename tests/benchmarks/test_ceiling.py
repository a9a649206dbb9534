import torch

from benchmarks import ceiling
from trivium.nn.config import llama
from trivium.nn.flops import flops_per_token


def test_the_products_of_a_step_are_the_flops_of_its_matrices():
    config = llama(vocab_size=96, depth=2, width=64, max_seq_len=8)
    products = sum(2 * m * k * n for m, k, n in ceiling.training_shapes(config, tokens=10))
    attention = 6 * config.num_layers * config.num_heads * config.head_dim * (8 + 1)
    assert products == 10 * (flops_per_token(config, 8) - attention)


def test_the_ceiling_is_all_work_over_the_best_times(monkeypatch):
    monkeypatch.setattr(ceiling, "_best_seconds", lambda *_: 0.5)
    assert ceiling.matmul_flops(torch.float32, [(2, 3, 4), (2, 3, 4)]) == 2 * 2 * 2 * 3 * 4


def test_a_precision_that_is_more_than_ten_times_slower_than_float32_is_hopeless(monkeypatch):
    speeds = {torch.float32: 100.0, torch.bfloat16: 5.0, torch.int8: 11.0}
    monkeypatch.setattr(ceiling, "matmul_flops", lambda dtype, *_, **__: speeds[dtype])
    assert ceiling.hopeless(("bfloat16", "int8")) == {"bfloat16": 20.0}
