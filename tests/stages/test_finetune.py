"""Fine-tuning: how long it trains, what it measures and keeps, noise, weights, templates, and the recipes of papers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.nn.io_models import FILES, SHAPES, TOKENIZER, ours
from tests.stages.power import lost_before
from trivium.core.config import plain
from trivium.core.errors import ArtefactError, ConfigError, DataError
from trivium.core.run import Run
from trivium.core.types import Conversation, Message
from trivium.data.pack import pack
from trivium.nn.io.directory import save_model
from trivium.stages.base import Foresight
from trivium.stages.computing.heldout import HeldoutLoss
from trivium.stages.computing.models import Speaker
from trivium.stages.machine import Machine
from trivium.stages.methods import methods
from trivium.stages.pipeline import _sources
from trivium.stages.planning.plan import plan
from trivium.stages.recipe import single
from trivium.text.chat_forms import forms
from trivium.train.annotate import final_scores

MACHINE = {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10, "kernels": "torch"}
WORDS = ("king", "land", "ships", "people", "user", "hello", "world", "assistant", "the", "of")
COMMON = {"data": "chat.jsonl", "seq_len": 64, "micro_batch_rows": 2, "schedule": {"warmup_steps": 0}}
BY_REWARD = {"kind": "reward", "reward_model": "judge", "prompts": "prompts.jsonl", "sampling": {"max_new_tokens": 6}}


def write(name: str, rows: list[dict[str, Any]]) -> None:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def chat(asked: str, *said: str, **more: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": said[0]}]
    for answer in said[1:]:
        turns += [{"role": "user", "content": "and?"}, {"role": "assistant", "content": answer}]
    return {"messages": turns, **more}


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(SHAPES, "gpt_neox", replace(SHAPES["gpt_neox"], num_layers=1))
    save_model(tmp_path / "base", ours("gpt_neox"), **FILES)
    save_model(tmp_path / "judge", ours("gpt_neox", has_scalar=True), **FILES)
    write("chat.jsonl", [chat(word, word * (1 + i % 3)) for i, word in enumerate(WORDS)])
    write("heldout.jsonl", [chat(word, "king of the land") for word in WORDS[:4]])
    write("prompts.jsonl", [{"prompt": word} for word in WORDS[:6]])


def stage_of(**options: Any) -> Any:
    return single("finetune", {"model": "base", **COMMON, **options}).stages["finetune"]


def run(out: str = "out", *, save_every_s: float = 1e9, **options: Any) -> list[dict[str, Any]]:
    """Run the stage in `out`, from its checkpoint if there is one, and give its rows of metrics."""
    stage = stage_of(**options)
    stage.check()
    with Run(Path(out), quiet=True, machine=MACHINE, save_every_s=save_every_s) as running:
        assert running.begin("finetune", {})
        stage.run(running)
    return [json.loads(line) for line in (Path(out) / "metrics.jsonl").read_text().splitlines()]


def said(out: str = "out") -> str:
    return (Path(out) / "log.txt").read_text()


def weights(out: str = "out") -> bytes:
    return (Path(out) / "finetune/model/model.safetensors").read_bytes()


def kill_at(update: int, **options: Any) -> None:
    with lost_before(update):
        run("killed", save_every_s=0.0, **options)


# --- how long


@pytest.mark.parametrize(
    ("options", "updates"), [({"batch_size": 4}, 5), ({"batch_size": 5}, 4), ({"batch_size": 64}, 1), ({"epochs": 0.5, "batch_size": 2}, 3)]
)
def test_epochs_make_so_many_updates(options, updates):
    rows = run(**{"epochs": 2, **options})
    assert [row["step"] for row in rows] == list(range(1, updates + 1))
    assert f"epochs of 10 conversations = {updates} update" in said()
    assert rows[-1]["lr_factor"] == pytest.approx(1 / updates)  # the schedule knows where the end is


def test_epochs_that_come_out_even_are_so_many_steps_to_the_bit():
    assert run("epochs", epochs=1, batch_size=5) == run("steps", steps=2, batch_size=5)
    assert weights("epochs") == weights("steps")


def test_the_last_update_weighs_what_it_has_as_if_it_were_all():
    """10 conversations in updates of 9: the second is one conversation, whose loss is the mean over its own tokens."""
    rows = run(epochs=1, batch_size=9, optimizer={"lr": 1e-12})
    speaker = Speaker.load(Path("base"), Machine(**MACHINE))
    answers = [Conversation((Message("user", w), Message("assistant", w * (1 + i % 3)))) for i, w in enumerate(WORDS)]
    alone = [np.mean(HeldoutLoss(speaker.model, [speaker.demonstration(each)], 1, 64)()["heldout_loss"]) for each in answers]
    assert min(abs(value - rows[1]["loss"]) for value in alone) < 1e-4


def test_a_batch_of_tokens_is_so_many_on_average():
    rows = run(epochs=3, batch_tokens=64)
    speaker = Speaker.load(Path("base"), Machine(**MACHINE))
    lengths = [len(speaker.demonstration(Conversation((Message("user", w), Message("assistant", w * (1 + i % 3))))).tokens)
               for i, w in enumerate(WORDS)]  # fmt: skip
    assert 0 <= len(rows) - (3 * sum(lengths) - max(lengths)) // 64 <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give either steps=N"),
        ({"steps": 2, "epochs": 1}, "give either steps=N"),
        ({"steps": 2, "batch_size": 2, "batch_tokens": 99}, "give either batch_size=N"),
        ({"steps": 2, "batch_tokens": 63}, "batch_tokens is 63, but one conversation may have seq_len tokens, 64"),
        ({"steps": 2, "select": "loss"}, "select=loss needs heldout"),
        ({"steps": 2, "evaluate_every": 2}, "evaluate_every has nothing to measure"),
        ({"steps": 2, "heldout": 1.5}, "heldout is 1.5; it is a file of conversations, or a share"),
        ({"steps": 2, "select": {"kind": "reward"}}, "'select.reward_model' is missing"),
        ({"steps": 2, "template": "alpacca"}, "'template' is 'alpacca'; it is one of: 'model', 'alpaca', 'dolly', 'hh' or 'synthesizer'"),
        ({"steps": 2, "neftune_alpha": -1}, "'neftune_alpha' is -1"),
        ({"steps": 2, "dropout": 1}, "'dropout' is 1"),
        ({"method": "alpacca"}, "'method' is 'alpacca'; did you mean 'alpaca'"),
        ({"method": "alpaca", "steps": 7}, "give either steps=N"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        stage_of(**options)
    assert "\n" not in str(caught.value)


# --- what it measures and keeps


def test_the_held_out_loss_is_that_of_the_saved_model_over_all_tokens():
    rows = run(steps=3, batch_size=4, heldout="heldout.jsonl", evaluate_every=2)
    assert [row["step"] for row in rows if "heldout_loss" in row] == [2, 3]
    [result] = json.loads(Path("out/finetune/results.json").read_text())
    speaker = Speaker.load(Path("out/finetune/model"), Machine(**MACHINE))
    items = [speaker.demonstration(Conversation((Message("user", w), Message("assistant", "king of the land")))) for w in WORDS[:4]]
    [batch] = pack([(item,) for item in items], rows=4, length=64)
    with torch.no_grad():
        logits = speaker.model.trunk.logits(speaker.model.hidden(batch)).log_softmax(-1)
    picked = logits[:, :-1].gather(-1, batch.tokens_BL[:, 1:, None])[..., 0]
    expected = float(-(picked * batch.loss_mask_BL[:, 1:]).sum() / batch.loss_mask_BL.sum())
    assert rows[-1]["heldout_loss"] == pytest.approx(expected, rel=1e-5)
    assert (result["measure"], result["n"]) == ("heldout_loss", 4)
    assert result["value"] == pytest.approx(expected, rel=1e-5)
    assert result["low"] < result["value"] < result["high"]
    assert f"held out: 4 conversations, {int(batch.loss_mask_BL.sum())} tokens that count" in said()


def test_without_a_number_it_is_measured_after_every_epoch():
    rows = run(epochs=3, batch_size=4, heldout="heldout.jsonl")
    assert [row["step"] for row in rows if "heldout_loss" in row] == [3, 5, 8]


def test_a_share_is_kept_out_of_training_and_does_not_depend_on_how_long_that_is():
    first, second = (run(name, epochs=epochs, batch_size=4, heldout=0.3) for name, epochs in (("first", 1), ("second", 2)))
    assert "1 epochs of 7 conversations" in said("first")
    assert "held out: 3 conversations" in said("first")
    assert first[0]["data_xxh3"] == second[0]["data_xxh3"]
    write("chat.jsonl", [chat("king", "king")])
    with pytest.raises(DataError, match="has 1 conversation, which leaves none to train on"):
        run("third", epochs=1, heldout=0.3)


@pytest.mark.parametrize(
    ("options", "metric", "sign"),
    [
        ({"select": "loss", "heldout": "heldout.jsonl"}, "heldout_loss", -1),
        ({"select": BY_REWARD, "heldout": 0.2}, "heldout_reward", 1),
        ({"select": BY_REWARD, "lora": {"r": 2}, "optimizer": {"lr": 1.0}}, "heldout_reward", 1),
    ],
    ids=["loss", "reward", "adapter"],
)
def test_the_best_model_is_kept_and_a_kill_does_not_change_which(options, metric, sign):
    options = {"steps": 6, "batch_size": 4, "evaluate_every": 1, "optimizer": {"lr": 0.05}, "neftune_alpha": 5.0, **options}
    rows = run("straight", save_every_s=0.0, **options)
    scores = [sign * row[metric] for row in rows]
    best = int(np.argmax(scores))
    assert f"kept the model after update {best + 1} of 6" in said("straight")
    assert best < 5, "a case in which the last is best shows nothing"
    results = {row["measure"]: row["value"] for row in json.loads(Path("straight/finetune/results.json").read_text())}
    assert results[metric] == pytest.approx(rows[best][metric], rel=1e-6)
    for update in (best + 1, 5):
        kill_at(update, **options)
    assert run("killed", save_every_s=0.0, **options) == rows
    assert weights("killed") == weights("straight")


def test_the_last_model_is_another_one_if_nothing_is_selected():
    options = {"steps": 6, "batch_size": 4, "evaluate_every": 1, "optimizer": {"lr": 0.05}, "heldout": "heldout.jsonl"}
    plain_rows, kept_rows = run("plain", **options), run("kept", select="loss", **options)
    assert plain_rows == kept_rows
    assert weights("plain") != weights("kept")


def test_the_reward_is_the_judges_score_of_the_models_own_answers():
    rows = run(steps=1, batch_size=4, select=BY_REWARD)
    speaker = Speaker.load(Path("out/finetune/model"), Machine(**MACHINE))
    judge = Speaker.load(Path("judge"), Machine(**MACHINE), has_scalar=True)
    from trivium.generate.engine import Engine
    from trivium.generate.sampling import Sampling

    engine = Engine(speaker.model, stop_ids=speaker.stop_ids, kernels="torch")
    prompts = [speaker.prompt((Message("user", word),)) for word in WORDS[:6]]
    answers = engine.generate(prompts, Sampling(max_new_tokens=6), seed=1, purpose="select")
    assert rows[0]["heldout_reward"] == pytest.approx(final_scores(judge.model, answers, rows=2, length=64).mean(), abs=1e-5)
    assert rows[0]["heldout_length"] == np.mean([len(answer.response) for answer in answers])
    assert "heldout_loss" not in rows[0]


def test_what_judges_is_part_of_what_the_result_depends_on():
    sources = _sources(plain(stage_of(steps=1, select=BY_REWARD, heldout="heldout.jsonl")))
    assert {"judge", "prompts.jsonl", "heldout.jsonl", "base", "chat.jsonl"} <= set(sources)


def test_a_judge_that_knows_another_form_of_conversations_is_said():
    run("same", steps=1, select=BY_REWARD)
    run("other", steps=1, select=BY_REWARD, template="hh")
    assert "another chat format" not in said("same")
    assert "judge: was trained on conversations in another chat format than it now reads" in said("other")


def test_prompts_that_leave_no_room_are_refused():
    with pytest.raises(DataError, match="raise seq_len, lower sampling.max_new_tokens"):
        run(steps=1, select={**BY_REWARD, "sampling": {"max_new_tokens": 64}})


# --- what is trained on


@pytest.mark.parametrize(("name", "value"), [("neftune_alpha", 5.0), ("dropout", 0.2)])
def test_noise_resumes_with_the_same_bits_and_none_is_none(name, value):
    options = {"steps": 4, "batch_size": 4, name: value}
    rows = run("straight", **options)
    kill_at(2, **options)
    assert run("killed", save_every_s=0.0, **options) == rows
    assert weights("killed") == weights("straight")
    without = run("without", steps=4, batch_size=4)
    assert without == run("zero", steps=4, batch_size=4, **{name: 0})
    assert without[0]["loss"] != rows[0]["loss"]
    assert without[0]["data_xxh3"] == rows[0]["data_xxh3"]


@pytest.mark.parametrize("noise", [{"neftune_alpha": 50.0}, {"dropout": 0.5}, {"neftune_alpha": 50.0, "dropout": 0.5}])
def test_there_is_no_noise_in_what_is_measured(noise):
    options = {"steps": 1, "heldout": "heldout.jsonl", "optimizer": {"lr": 1e-12}}
    without, noisy = run("without", **options)[0], run("noisy", **noise, **options)[0]
    assert abs(noisy["loss"] - without["loss"]) > 1e-3
    assert noisy["heldout_loss"] == pytest.approx(without["heldout_loss"], abs=1e-6)


def test_an_example_with_weight_two_is_the_same_as_two_of_it():
    write("chat.jsonl", [chat("king", "land"), chat("ships", "people"), chat("ships", "people"), chat("of", "no", weight=0)])
    twice = run("twice", epochs=1)
    write("chat.jsonl", [chat("king", "land"), chat("ships", "people", weight=2)])
    weighted = run("weighted", epochs=1)
    assert "3 of 4 conversations fit" in said("twice")
    assert weighted[0]["loss"] == pytest.approx(twice[0]["loss"], rel=1e-6)
    assert weighted[0]["grad_norm"] == pytest.approx(twice[0]["grad_norm"], rel=1e-5)
    write("chat.jsonl", [chat("king", "land"), chat("ships", "people")])
    assert abs(run("plain", epochs=1)[0]["loss"] - weighted[0]["loss"]) > 1e-4


def test_of_a_conversation_all_answers_are_learned_or_the_last():
    write("chat.jsonl", [chat("king", "land", "ships of the people")])
    speaker = Speaker.load(Path("base"), Machine(**MACHINE))
    turns = [Message("user", "king"), Message("assistant", "land"), Message("user", "and?"), Message("assistant", "ships of the people")]
    ids = {name: speaker.demonstration(Conversation(tuple(turns)), train_on=name).response.tolist() for name in ("all", "last")}
    end = TOKENIZER.id_of("<|end|>")
    assert ids["last"] == [*TOKENIZER.encode("ships of the people").tolist(), end]
    assert ids["all"] == [*TOKENIZER.encode("land").tolist(), end, *ids["last"]]
    losses = [run(name, steps=1, train_on=name)[0]["loss"] for name in ("all", "last")]
    assert losses[0] != losses[1]


# --- templates and recipes


def test_a_template_is_how_the_model_is_spoken_to_from_then_on(monkeypatch):
    monkeypatch.setitem(SHAPES, "gpt_neox", replace(SHAPES["gpt_neox"], max_seq_len=256))
    save_model(Path("longer"), ours("gpt_neox"), **FILES)
    run(model="longer", steps=1, template="alpaca", seq_len=256)
    speaker = Speaker.load(Path("out/finetune/model"), Machine(**MACHINE))
    asked = (Message("user", "king?"),)
    intro = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
    expected = f"<|endoftext|>{intro}\n\n### Instruction:\nking?\n\n### Response:"
    assert TOKENIZER.decode(speaker.prompt(asked), skip_special=False) == expected
    whole = speaker.demonstration(Conversation((*asked, Message("assistant", "land"))))
    assert TOKENIZER.decode(whole.tokens, skip_special=False) == expected + "land<|end|>"
    assert whole.response.tolist() == [*TOKENIZER.encode("land").tolist(), TOKENIZER.id_of("<|end|>")]
    assert speaker.stop_ids == (TOKENIZER.id_of("<|end|>"), TOKENIZER.id_of("<|endoftext|>"))


def test_a_template_needs_a_token_that_ends_an_answer():
    config = {name: value for name, value in FILES["tokenizer_config"].items() if name != "eos_token"}
    save_model(Path("endless"), ours("gpt_neox"), **{**FILES, "tokenizer_config": config})
    with pytest.raises(ArtefactError, match="names no eos_token, which would end the answers of template 'hh'; use template=model"):
        run(model="endless", steps=1, template="hh")


def test_every_template_is_one_that_a_stage_may_name():
    for name in forms():
        assert stage_of(steps=1, template=name).template == name


# epochs, conversations or tokens an update, lr, weight decay, second beta, floor and share of warm-up, length, template
PUBLISHED = {
    "instructgpt": (16, 32, 0, 9.65e-6, 0.0, 0.95, 0.1, 0.0, 2048, "model"),
    "alpaca": (3, 128, 0, 2e-5, 0.0, 0.999, 0.0, 0.03, 512, "alpaca"),
    "dolly": (3, 64, 0, 1e-5, 0.0, 0.999, 0.0, 0.0, 2048, "dolly"),
    "llama2": (2, 0, 64 * 4096, 2e-5, 0.1, 0.95, 0.0, 0.0, 4096, "model"),
}


@pytest.mark.parametrize("method", methods("finetune"))
def test_a_named_recipe_has_the_published_numbers(method):
    stage = single("finetune", {"model": "base", "data": "chat.jsonl", "method": method}).stages["finetune"]
    optimizer, schedule = stage.optimizer, stage.schedule
    assert PUBLISHED[method] == (
        stage.epochs, stage.batch_size, stage.batch_tokens, optimizer.lr, optimizer.weight_decay, optimizer.beta2,
        schedule.floor, schedule.warmup_share, stage.seq_len, stage.template,
    )  # fmt: skip
    assert schedule.warmup_steps == 0
    assert schedule.shape == ("linear" if method == "dolly" else "cosine")
    assert stage.dropout == (0.2 if method == "instructgpt" else 0)
    assert stage.lacks
    stage.check()
    assert single("finetune", plain(stage)).stages["finetune"] == stage


def test_a_recipe_says_what_it_lacks_and_own_options_go_over_it():
    rows = run(method="instructgpt", epochs=1, batch_size=5, seq_len=64)
    assert len(rows) == 2
    assert "the recipe has what this stage does not: the choice of the model by reward-model score" in said()


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ({"epochs": 2, "batch_size": 4}, "2 epochs of 10 conversations = 5 updates, fewer if some are too long or have no answer"),
        ({"epochs": 2, "batch_tokens": 512}, "2 epochs of 10 conversations = 10 updates, about"),
    ],
)
def test_a_dry_run_says_how_many_updates_epochs_are(options, note):
    work = stage_of(**options).foresee("finetune", Foresight(sequence_tokens=256))
    assert work.tokens_trained == 20 * 256
    assert note in work.notes
    assert f"finetune: {note}" in plan(
        single("finetune", {"model": "base", **COMMON, **options, "machine": {**MACHINE, "kernels": "torch"}})
    )


def test_a_dry_run_counts_the_answers_that_are_judged():
    known = Foresight(num_heldout=7)
    stage = stage_of(epochs=2, batch_size=4, select=BY_REWARD)
    assert stage.foresee("finetune", known).tokens_generated == 2 * 7 * 6
    assert replace(stage, evaluate_every=1).foresee("finetune", known).tokens_generated == 5 * 7 * 6
    assert stage_of(steps=4).foresee("finetune", known).tokens_generated == 0
