"""`prefer` and `reinforce` with every kind of objective, credit and reward, on a model of a few thousand weights."""

import json
import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.nn.io_models import FILES, LARGER, SHAPES, TEXTS, TOKENIZER, ours
from trivium.core.config import plain
from trivium.core.errors import ArtefactError, ConfigError, DataError, DivergedError
from trivium.core.interrupt import Interrupted
from trivium.core.run import Run
from trivium.core.types import Document
from trivium.generate.engine import Engine
from trivium.nn.flops import flops_per_token
from trivium.nn.io.config_json import read_config
from trivium.nn.io.directory import save_model
from trivium.nn.model import Model, initialise
from trivium.nn.native.library import why_not
from trivium.stages.base import Foresight, Work
from trivium.stages.methods import methods
from trivium.stages.pipeline import check
from trivium.stages.recipe import single
from trivium.text.shards import write_shard
from trivium.train.trainer import Trainer

MACHINE = {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10, "kernels": "torch"}
WORDS = ("king", "land", "sea", "night", "bread", "stone")
PREFER = {"data": "pairs.jsonl", "steps": 2, "batch_size": 4, "seq_len": 64}
SAMPLED = {"prompts": "prompts.jsonl", "phases": 2, "prompts_per_phase": 4, "seq_len": 64, "sampling": {"max_new_tokens": 6}}
EXPLAINED = set(re.findall(r"`([\w/]+)`", (Path(__file__).parents[2] / "docs" / "alignment.md").read_text()))
LENGTH = {"kind": "length", "max_words": 1}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "base", ours("llama"), **FILES)
    save_model(tmp_path / "judge", ours("llama", has_scalar=True), **FILES)
    teacher = ours("llama")
    with torch.no_grad():
        teacher.trunk.head.weight.mul_(3)
    save_model(tmp_path / "teacher", teacher, **FILES)
    write(tmp_path / "chats.jsonl", [{"prompt": word, "response": f"{word} no"} for word in WORDS])
    TOKENIZER.save(tmp_path / "tokens" / "tokenizer.json")
    write_shard(tmp_path / "tokens" / "train", [Document(text) for text in TEXTS * 5], TOKENIZER)
    pairs = [{"prompt": word, "responses": [word, "no", "a"], "scores": [3, 2, 1.5]} for word in WORDS]
    labels = [{"prompt": word, "completion": word if good else "no", "label": good} for word in WORDS for good in (True, False)]
    prompts = [{"prompt": word, "answer": f"{number}", "asked": word} for number, word in enumerate(WORDS)]
    for name, rows in {"pairs": pairs, "labels": labels, "prompts": prompts}.items():
        write(tmp_path / f"{name}.jsonl", rows)
    return tmp_path


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def run(kind: str, out: str = "out", *, save_every_s: float = 1e9, **options: Any) -> list[dict[str, Any]]:
    """Run one stage from its last checkpoint, if there is one; its metrics."""
    stage = single(kind, {"model": "base", **(SAMPLED if kind == "reinforce" else PREFER), **options}).stages[kind]
    stage.check()
    with Run(Path(out), quiet=True, machine=MACHINE, save_every_s=save_every_s) as running:
        assert running.begin(kind, {})
        stage.run(running)
    return [json.loads(line) for line in (Path(out) / "metrics.jsonl").read_text().splitlines()]


def log(out: str = "out") -> str:
    return (Path(out) / "log.txt").read_text()


def weights(out: str, kind: str) -> bytes:
    return (Path(out) / kind / "model/model.safetensors").read_bytes()


def killed_once(kind: str, at: int, monkeypatch: pytest.MonkeyPatch, **options: Any) -> set[str]:
    """Run it once straight, and once with a kill before update `at` and again: the same bits, of the model and of every trainer's last
    state, weights and moments (a critic is nowhere else in the end). Gives the trainers' names.
    """
    step, trainers, ends = Trainer.step, dict[str, Trainer](), dict[str, dict[str, Any]]()
    for out, stop in (("straight", None), ("killed", at), ("killed", None)):

        def watched(self: Trainer, n: int, *batches: Any, stop: int | None = stop) -> dict[str, float]:
            if n == stop:
                raise Interrupted(15, "power loss")
            trainers[self.name] = self
            return step(self, n, *batches)

        with monkeypatch.context() as patched, nullcontext() if stop is None else pytest.raises(Interrupted):
            patched.setattr(Trainer, "step", watched)
            run(kind, out, save_every_s=0.0, **options)
        ends[out] = {name: trainer.state() for name, trainer in trainers.items()}
        trainers.clear()
    torch.testing.assert_close(ends["killed"], ends["straight"], rtol=0, atol=0)
    assert weights("killed", kind) == weights("straight", kind)
    kept = [(Path(out) / "metrics.jsonl").read_bytes() for out in ("killed", "straight")]
    assert kept[0] == kept[1]
    return set(ends["killed"])


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        ("simpo", "18 pairs"),
        ("odpo", "18 pairs"),
        ("rrhf", "6 rankings"),
        ("kto", "36 labels"),
        ("bco", "36 labels"),
        ("aot", "18 pairs"),
        ("tdpo", "18 pairs"),
    ],
)
def test_each_kind_of_objective_gets_what_it_takes_from_rankings(objective, said):
    rows = run("prefer", objective=objective)
    assert len(rows) == 2
    assert np.isfinite(rows[-1]["loss"])
    assert said in log()


@pytest.mark.parametrize("objective", ["dpo", "kto", "tdpo"])
def test_prefer_goes_on_with_the_same_bits(objective, monkeypatch):
    killed_once("prefer", 2, monkeypatch, objective=objective, steps=4)


def test_a_reference_that_follows_the_policy_is_part_of_the_checkpoint(monkeypatch):
    killed_once("prefer", 3, monkeypatch, steps=5, reference_update={"every": 2, "share": 0.6})
    run("prefer", "fixed", steps=5, save_every_s=0.0)
    assert weights("fixed", "prefer") != weights("straight", "prefer")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "simpo", "reference_update": {}}, "simpo has no reference"),
        ({"objective": "kto", "reference_update": {}}, "reads its reference before training starts"),
        ({"reference_update": {}, "lora": {}}, "leave lora out"),
    ],
)
def test_a_reference_that_cannot_move_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        run("prefer", **options)


TAUGHT = ("on_policy_distillation", "gkd")
ONLINE = {
    "ppo": {"reward_model": "judge"},
    "ppo with rules only": {"rewards": [LENGTH]},
    "grpo": {"credit": "group_mean", "answers": 4, "rewards": [LENGTH], "passes": 1},
    "rloo": {"credit": "leave_one_out", "objective": "reinforce", "answers": 2, "passes": 1, "minibatches": 1, "reward_model": "judge"},
    "reinforce++": {"credit": "batch_mean", "reward_model": "judge"},
    "remax": {"credit": "greedy_baseline", "objective": "reinforce", "passes": 1, "minibatches": 1, "rewards": [{"kind": "repetition"}]},
    "cispo": {"credit": "group_mean", "objective": "cispo", "answers": 2, "reward_model": "judge"},
    "ppo that holds its kl": {"reward_model": "judge", "adaptive_kl": {"target": 0.5}, "missing_end": "mask", "overlong_margin": 2},
    "online dpo": {"objective": "dpo", "answers": 2, "reward_model": "judge"},
    "nash-md": {"method": "nash_md", "reward_model": "judge", "answers": 2},
    "xpo": {"method": "xpo", "reward_model": "judge"},
    "distillation": {"method": "on_policy_distillation", "teacher": "teacher"},
    "gkd": {"method": "gkd", "teacher": "teacher", "objective": {"beta": 0.5}, "answers": 2},
    "ppo-ptx": {"method": "ppo_ptx", "reward_model": "judge", "replay": {"tokens": "tokens", "rows_per_answer": 1, "coef": 2.0}},
    "grpo with replayed demonstrations": {
        "method": "grpo",
        "rewards": [LENGTH],
        "answers": 2,
        "replay": {"demonstrations": "chats.jsonl", "rows_per_answer": 1},
    },
    "bnpo": {"method": "bnpo", "rewards": [{"kind": "format", "pattern": ".*[te].*", "weight": 1.0}], "answers": 2},
    "an ensemble that agrees with itself": {"reward_model": ["judge", "judge"], "disagreement_coef": 1.0},
}


@pytest.mark.parametrize("options", ONLINE.values(), ids=ONLINE.keys())
def test_every_online_method_runs_and_reports(options):
    rows = run("reinforce", **options)
    last = rows[-1]
    assert np.isfinite(last["loss"])
    assert {"reward", "kl", "length", "stop_rate", "unique_answers"} <= set(last)
    stage = single("reinforce", {"model": "base", **SAMPLED, **options}).stages["reinforce"]
    assert ("critic_loss" in last) == stage.has_critic == (stage.has_credit and stage.credit.kind == "gae")
    assert ("win_rate" in last) == (options.get("method") == "nash_md")
    assert ("replay_loss" in last) == ("replay" in options)
    unexplained = {re.sub("/.*", "/KIND", name) for name in last} - EXPLAINED
    assert not unexplained, f"docs/alignment.md does not say what these mean: {unexplained}"


def test_an_ensemble_is_its_mean_less_what_its_members_differ_by():
    one = run("reinforce", "one", reward_model="judge", missing_end_penalty=0.0)
    two = run("reinforce", "two", reward_model=["judge", "judge"], disagreement_coef=3.0, missing_end_penalty=0.0)
    assert [row["loss"] for row in one] == [row["loss"] for row in two]


RESUMED = (
    "grpo", "online dpo", "reinforce++", "ppo", "ppo that holds its kl", "nash-md", "xpo", "distillation", "gkd", "ppo-ptx",
)  # fmt: skip


@pytest.mark.parametrize("method", RESUMED)
def test_reinforce_goes_on_with_the_same_bits(method, monkeypatch):
    stage = single("reinforce", {"model": "base", **SAMPLED, **ONLINE[method]}).stages["reinforce"]
    trained = killed_once("reinforce", stage.passes * stage.minibatches, monkeypatch, **ONLINE[method], phases=3)
    assert ("critic" in trained) == stage.has_critic


def test_text_of_pre_training_pulls_on_the_same_update():
    """At a step that is small enough the text's loss falls with replay, and the first losses differ by coef times it."""
    options = {**ONLINE["ppo-ptx"], "phases": 1, "passes": 1, "minibatches": 1}
    [with_text] = run("reinforce", "text", **options)
    [alone] = run("reinforce", "alone", **{name: value for name, value in options.items() if name not in ("method", "replay")})
    assert with_text["loss"] == pytest.approx(alone["loss"] + 2.0 * with_text["replay_loss"], rel=1e-5)
    assert with_text["critic_loss"] == alone["critic_loss"]
    assert with_text["grad_norm"] != alone["grad_norm"]


@pytest.mark.parametrize(("precision", "mismatch"), [("bfloat16", 1e-5), ("int8", 1e-4)])
@pytest.mark.skipif(bool(why_not()), reason=str(why_not()))
def test_a_sampler_in_fewer_bits_is_corrected_for(precision, mismatch, monkeypatch):
    monkeypatch.setitem(MACHINE, "kernels", "native")
    save_model(Path("wide"), initialise(Model(replace(SHAPES["llama"], head_dim=16)), seed=3), **FILES)
    rows = run("reinforce", model="wide", method="grpo", rewards=[LENGTH], answers=2, sampler=precision)
    assert 1 + mismatch < rows[-1]["sampler_mismatch"] < 1.2
    assert 0.9 < rows[-1]["sampler_effective_share"] < 1
    assert rows[0]["approx_kl"] == pytest.approx(0, abs=1e-6)  # the anchor is the trainer's own reading
    assert "sampler_mismatch" not in run("reinforce", "plain", model="wide", method="grpo", rewards=[LENGTH], answers=2)[-1]


def test_a_sampler_in_fewer_bits_needs_the_kernels_that_have_it():
    told = r"sampler is 'int8', which only the C\+\+ kernels have, but machine.kernels is 'torch'; use sampler=auto"
    options = {"model": "base", **SAMPLED, "method": "grpo", "rewards": [LENGTH], "answers": 2, "sampler": "int8"}
    with pytest.raises(ConfigError, match=told):
        check(single("reinforce", {**options, "machine": {"kernels": "torch"}}))
    with pytest.raises(ConfigError, match=told):
        run("reinforce", **options)


def foreseen(kind: str, **options: Any) -> Work:
    stage = single(kind, {"model": "base", **(PREFER if kind == "prefer" else SAMPLED), **options}).stages[kind]
    return stage.foresee(kind, Foresight(num_comparisons=10, sequence_tokens=32))


def test_a_dry_run_counts_what_is_read_besides():
    flops = flops_per_token(read_config(Path("base")), 64)
    forward = 2 * 4 * 2 * 32 / 3 * flops  # steps x pairs x answers x tokens
    dpo = foreseen("prefer").flops
    assert foreseen("prefer", objective="simpo").flops == pytest.approx(dpo - forward)  # of the pairs that are trained on
    assert foreseen("prefer", objective="aot").flops == pytest.approx(dpo + forward)
    assert foreseen("prefer", objective="tdpo").flops == pytest.approx(dpo + forward)
    bco, kto = (foreseen("prefer", objective=objective).flops for objective in ("bco", "kto"))
    assert bco == pytest.approx(dpo - 3 * forward / 2 + forward / 2)
    assert kto - bco == pytest.approx(forward)  # the reference's reading of the mismatches


def test_a_dry_run_knows_how_many_answers_are_ranked():
    flops, known = flops_per_token(read_config(Path("base")), 64), Foresight(num_comparisons=10, num_heldout=6, sequence_tokens=32)
    options = {"model": "base", "data": "pairs.jsonl", "heldout": "pairs.jsonl", "steps": 3, "batch_size": 5, "seq_len": 64}
    reward = single("reward", options).stages["reward"]
    pairs = reward.foresee("reward", known)
    assert pairs.tokens_trained == 3 * 5 * 2 * 32
    assert pairs.flops == pytest.approx((3 * 5 + (10 + 6) / 3) * 2 * 32 * flops)  # the level of the scores, and those held out
    ranked = {"model": "base", "prompts": "prompts.jsonl", "min_answers": 4, "max_answers": 9}
    single("annotate", ranked).stages["annotate"].foresee("annotate", known)
    assert reward.foresee("reward", known).flops == pytest.approx(pairs.flops * 6.5 / 2)


def test_a_dry_run_counts_replay_teachers_and_opponents():
    flops, answers = flops_per_token(read_config(Path("base")), 64), 2 * 4 * 32
    plain = foreseen("reinforce", rewards=[LENGTH])
    text = foreseen("reinforce", rewards=[LENGTH], replay={"tokens": "tokens", "rows_per_answer": 3})
    assert text.tokens_trained - plain.tokens_trained == 2 * 2 * 2 * (2 * 3) * 64  # updates x rows x tokens
    assert text.flops - plain.flops == pytest.approx((text.tokens_trained - plain.tokens_trained) * flops)
    bare = foreseen("reinforce", method="remax", rewards=[LENGTH])
    taught, exact = (foreseen("reinforce", method=method, teacher="teacher") for method in TAUGHT)
    assert taught.flops == pytest.approx(bare.flops + answers / 3 * flops)
    assert exact.flops == pytest.approx(bare.flops + 2 * answers / 3 * flops)
    assert foreseen("reinforce", method="nash_md", rewards=[LENGTH]).tokens_generated == 2 * answers
    assert foreseen("reinforce", method="xpo", rewards=[LENGTH]).flops == pytest.approx(bare.flops + answers / 3 * flops)


def test_a_reward_outside_of_0_to_1_is_refused_by_a_scale_that_needs_it():
    with pytest.raises(ConfigError, match="scale=beta takes rewards from 0 to 1, one is -"):
        run("reinforce", method="bnpo", rewards=[LENGTH])


def test_what_is_replayed_must_be_there_fit_and_be_of_the_same_tokenizer(place):
    with pytest.raises(ArtefactError, match="nowhere"):
        run("reinforce", rewards=[LENGTH], replay={"tokens": "nowhere"})
    write(place / "long.jsonl", [{"prompt": "king", "response": "land " * 60}])
    with pytest.raises(DataError, match="long.jsonl: none of its 1 conversations has an answer and fits in 64 tokens"):
        run("reinforce", "second", rewards=[LENGTH], replay={"demonstrations": "long.jsonl"})
    LARGER.save(place / "other" / "tokenizer.json")
    write_shard(place / "other" / "train", [Document(text) for text in TEXTS * 5], LARGER)
    with pytest.raises(ArtefactError, match="tokenizer"):
        run("reinforce", "third", rewards=[LENGTH], replay={"tokens": "other"})


def test_distributions_over_other_words_are_not_compared_but_words_that_were_said_are(place):
    wider = Model(replace(SHAPES["llama"], vocab_size=SHAPES["llama"].vocab_size + 16))
    save_model(place / "wider", initialise(wider, seed=4), **FILES)
    with pytest.raises(ConfigError, match="316 words, the policy a llama of 300; gkd compares word by word.*credit=distillation"):
        run("reinforce", method="gkd", teacher="wider")
    assert np.isfinite(run("reinforce", "said", method="on_policy_distillation", teacher="wider")[-1]["reward"])


@pytest.mark.parametrize(
    ("field", "says"),
    [("solution", "'solution' of the prompts, which is missing.*answer, asked"), ("asked", "no number in the field 'asked'")],
)
def test_a_prompt_that_cannot_be_judged_is_named_before_anything_is_sampled(field, says, monkeypatch):
    monkeypatch.setattr(Engine, "generate", None)
    with pytest.raises(DataError, match=f"prompt 1: .*{says}"):
        run("reinforce", rewards=[{"kind": "numeric", "field": field}])


def test_rewards_that_never_differ_end_the_run():
    with pytest.raises(DivergedError, match="nothing to learn from"):
        run("reinforce", rewards=[{"kind": "exact"}], missing_end_penalty=0.0, phases=9)


def test_the_guard_ends_a_run_saves_its_model_and_stays_ended(monkeypatch):
    options = {"reward_model": "judge", "phases": 6, "guard": {"max_kl": 1e-9}, "optimizer": {"lr": 0.01}}
    rows = run("reinforce", **options, save_every_s=0.0)
    assert "above guard.max_kl" in log()
    assert len(rows) < 6 * 4
    assert weights("out", "reinforce")
    assert len(run("reinforce", **options, save_every_s=0.0)) == len(rows)


def test_a_held_out_judge_is_reported_beside_the_reward():
    rows = run("reinforce", rewards=[LENGTH], guard={"models": "judge"}, phases=1)
    assert np.isfinite(rows[-1]["heldout_reward"])


@pytest.mark.parametrize("method", methods())
def test_every_named_method_is_a_combination_that_is_allowed(method):
    more = {"rewards": [LENGTH]} if method not in TAUGHT else {"teacher": "teacher"}
    more |= {"replay": {"tokens": "tokens"}} if method == "ppo_ptx" else {}
    stage = single("reinforce", {"model": "base", **SAMPLED, "method": method, **more}).stages["reinforce"]
    stage.check()
    assert single("reinforce", plain(stage)).stages["reinforce"] == stage


def test_options_go_over_those_of_a_method():
    options = SAMPLED | {"method": "dapo", "answers": 3, "objective": {"clip_high": 0.3}, "rewards": [LENGTH]}
    stage = single("reinforce", {"model": "base", **options}).stages["reinforce"]
    assert (stage.answers, stage.objective.clip_high, stage.objective.reduction, stage.refill) == (3, 0.3, "token", True)


def test_a_method_that_is_none_gets_a_suggestion():
    with pytest.raises(ConfigError, match="'method' is 'grop'; did you mean 'grpo'"):
        run("reinforce", method="grop")


@pytest.mark.parametrize("method", ["dapo", "gspo", "grpo"])
def test_named_methods_run(method):
    rows = run("reinforce", method=method, rewards=[LENGTH], answers=2, missing_end_penalty=-0.5)
    assert np.isfinite(rows[-1]["loss"])
