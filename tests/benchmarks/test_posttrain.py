"""What the benchmark of post-training gives both sides, and what its table says."""

import argparse
from pathlib import Path

import numpy as np
import pytest

from benchmarks import conversations, posttrain
from benchmarks.contest import Contestant, Score
from benchmarks.posttrain import DEFAULT, PEER_SETTINGS, SIZES
from tests.nn.io_models import FILES, ours
from trivium.nn.config import llama
from trivium.nn.io.directory import save_model

GIB = 2**30


def score(name, seconds, *, is_ours=False, amounts=(10, 10), peak=GIB, **answer):
    answer = {"seconds": list(seconds), "amounts": list(amounts), "peak_bytes": peak, **answer}
    return Score(Contestant(name, (), {}, is_ours), answers={"dpo": [answer]})


def test_lengths_are_those_of_the_table_and_fit():
    lengths = conversations.usual_lengths(2000, 512, 1)
    assert max(map(sum, lengths)) <= 512
    assert min(answer for _, answer in lengths) >= 4
    assert np.median([prompt for prompt, _ in lengths]) == pytest.approx(conversations.PROMPT[4], rel=0.1)
    assert lengths == conversations.usual_lengths(2000, 512, 1)


def test_rows_have_their_lengths_and_end():
    [row] = conversations.demonstrations([(7, 3)], 50, 1)
    assert (len(row["prompt"]), len(row["answer"]), row["answer"][-1]) == (7, 3, conversations.END)
    assert min(row["prompt"]) >= conversations.FIRST_WORD
    assert conversations.summary([row]) == "1 conversations of 10 tokens (median 10, 90th percentile 10), 30% in answers"
    [pair] = conversations.pairs(1, 4, 6, 50, 1)
    assert [len(pair[name]) for name in ("prompt", "chosen", "rejected")] == [4, 6, 6]
    assert pair["chosen"] != pair["rejected"]


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("work", PEER_SETTINGS)
def test_every_setting_of_the_peer_makes_the_same_update(work, name):
    size = SIZES[name]
    for settings in PEER_SETTINGS[work].values():
        found = posttrain.peer_settings(work, size, settings, 256.0)
        rows = found["per_device_train_batch_size"] * found.get("gradient_accumulation_steps", 1)
        wanted = {"sft": size.conversations, "grpo": size.prompts * size.answers}.get(work, size.pairs)
        assert rows == (size.conversations // 2 if settings.get("packing") else wanted)


def test_what_is_done_beforehand_counts():
    assert posttrain.pace({"seconds": [2.0, 2.0], "amounts": [4, 4]}) == 2.0
    assert posttrain.pace({"seconds": [2.0, 2.0], "amounts": [4, 4], "added": [2.0, 2.0]}) == 1.0


def test_a_goal_compares_with_the_default_and_the_best():
    scores = [score("trivium", [1, 1], is_ours=True), score(DEFAULT, [4, 4], peak=2 * GIB), score("TRL, bf16", [2, 2], peak=4 * GIB)]
    found = posttrain.Work("dpo, 17m", "pairs/s", [posttrain.line(each, "dpo") for each in scores])
    assert posttrain.goal(found, scores, "dpo") == (
        "dpo, 17m: 4.00 times TRL's default (goal 2.0), 2.00 times its best (goal 2.0);"
        " memory 0.50 of that of TRL, default, 0.25 of that of TRL, bf16 (goal 0.5)"
    )
    failed = [scores[0], Score(Contestant("TRL, bf16", (), {}), failed="no")]
    found = posttrain.Work("dpo, 17m", "pairs/s", [posttrain.line(each, "dpo") for each in failed])
    assert posttrain.goal(found, failed, "dpo") == "dpo, 17m: nothing to compare"


def test_sampling_has_a_column():
    found = posttrain.line(score("trivium", [2, 2], sampling=[1, 1]), "dpo")
    assert found.notes == {"peak GiB": "1.00", "sampling": "50%"}


def test_the_best_setting_is_found_by_an_update_alone(monkeypatch):
    entered = [Contestant(name, (), {}) for name in (DEFAULT, "slow", "fast", "broken")]
    paces = {DEFAULT: [4], "slow": [5], "fast": [2]}

    def alone(contestants, works, *, rounds):
        return [
            score(each.name, paces[each.name], amounts=[10]) if each.name in paces else Score(each, failed="no such kernel")
            for each in contestants
        ]

    monkeypatch.setattr(posttrain, "one_by_one", alone)
    names, lines = posttrain.heats("dpo", entered)
    assert names == [DEFAULT, "fast"]
    assert lines[-1] == "broken: no such kernel"


def test_contestants_get_one_work(monkeypatch):
    monkeypatch.setattr(posttrain, "model_of", lambda name: Path("model"))
    found = posttrain.contestants("grpo", "17m", Path("rows.json"), 200.0, [], has_int8=True)
    assert [one.options["engine"] for one in found] == [{}, {"precision": "int8"}]
    assert len(posttrain.contestants("grpo", "17m", Path("rows.json"), 200.0, [])) == 1
    assert found[0].options["seq_len"] * found[0].options["micro_batch_rows"] == SIZES["17m"].micro_batch_rows * posttrain.SEQ_LEN


def test_settings_are_named_in_full_or_by_a_word():
    assert posttrain.named("sft", ["TRL, bf16, packing"]) == ["TRL, bf16, packing"]
    assert posttrain.named("sft", ["packing"]) == ["TRL, float32, packing", "TRL, bf16, packing", "TRL, bf16, packing, compiled"]
    assert posttrain.named("grpo", ["TRL"]) == list(PEER_SETTINGS["grpo"])


def test_quick_is_small():
    chosen = posttrain.parsed(["--quick"])
    assert isinstance(chosen, argparse.Namespace)
    assert (chosen.models, chosen.rounds, chosen.steps) == (["17m"], 1, 1)


def test_the_least_work_of_a_unit_by_hand():
    """6 layers of 4 x 384^2 + 3 x 384 x 1024 weights, 6 FLOPs each; 12 x 384 for each of 128.5 keys a layer; 384 tokens of a pair."""
    config = llama(vocab_size=8192, depth=6, width=384, max_seq_len=512)
    token, head = 6 * 6 * 1_769_472 + 6 * 12 * 384 * 257 // 2, 6 * 384 * 8192
    assert posttrain.unit_flops("reward", config, []) == 384 * token
    assert posttrain.unit_flops("dpo", config, []) == pytest.approx(4 / 3 * (384 * token + 256 * head))
    longer = 6 * 6 * 1_769_472 + 6 * 12 * 384 * 301 // 2
    assert posttrain.unit_flops("sft", config, [(100, 200), (100, 200)]) == pytest.approx(longer + head * 2 / 3)
    assert posttrain.unit_flops("grpo", config, []) is None


def test_the_ceiling_is_read_from_the_models_own_shape(tmp_path, monkeypatch):
    save_model(tmp_path, ours("llama"), **FILES)
    monkeypatch.setattr(posttrain, "model_of", lambda _: tmp_path)
    monkeypatch.setattr(posttrain, "matmul_flops", lambda *_: 1e9)
    monkeypatch.setattr(posttrain, "hopeless", lambda _: {})
    each = posttrain.unit_flops("reward", ours("llama").config, [])
    assert posttrain.ceiling("reward", "17m", []) == pytest.approx(1e9 / each)
    assert posttrain.ceiling("grpo", "17m", []) is None
