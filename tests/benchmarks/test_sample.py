from benchmarks.contest import Contestant, Score
from benchmarks.sample import mixed_contestants, work


def score(name, seconds, *, is_ours=False, failed="", **options):
    answers = {} if failed else {"batch 8": [{"seconds": [seconds]}]}
    return Score(Contestant(name, (), options, is_ours), answers=answers, failed=failed)


SCORES = [
    score("ours", 2.0, is_ours=True, precision="float32"),
    score("ours bf16", 1.0, is_ours=True, precision="bfloat16"),
    score("broken", 0.0, is_static=False, failed="out of memory"),
    score("slow", 9.0, is_static=False),
    score("fast", 4.0, is_static=False),
    score("compiled", 3.0, is_static=True),
]


def test_mixed_lengths_are_run_by_the_fastest_of_each_side_that_need_not_compile_every_length():
    found = mixed_contestants(SCORES, "batch 8", [(8, False), (16, True)])
    assert [one.name for one in found] == ["ours bf16", "fast, batches of 8", "fast, batches of 16, sorted"]


def test_the_limit_of_decoding_is_reading_the_weights_once_a_step():
    found = work(SCORES, "batch 8", {"lengths": [4] * 8}, bandwidth=2 * 134_515_008 * 10.0)  # ten steps of bf16 weights a second
    assert found.best(is_ours=True).value == 32.0
    assert found.fields()["ceiling_share"] == 32 / 80
    assert found.ratio == 3.0
