"""`trivium plan RECIPE --gpus N`: from what a user names to figures that add up, each with where it comes from."""

import json

import pytest
from typer.testing import CliRunner

from trivium.cli import app
from trivium.core.config import parse_overrides
from trivium.core.errors import ConfigError
from trivium.nn.config import llama
from trivium.plan.devices import Cluster, device
from trivium.plan.figures import as_json, as_text
from trivium.stages.base import Work
from trivium.stages.machine import Machine
from trivium.stages.planning.cluster import alternatives, machine_for, others_than, plan_cluster, training_of
from trivium.stages.planning.jobs import Job, asked, jobs_of
from trivium.stages.planning.layers import layer_fit, measure
from trivium.stages.planning.outlay import plan_of
from trivium.stages.recipe import load_recipe, single

SHAPE = ["tokens=1e12"]
VLLM = {"kind": "vllm", "urls": ["http://localhost:8000"]}
TAGS = {"exact", "measured", "calibrated", "assumed"}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path / "cache"))


def found_for(name, words=(), **options):
    return plan_of(asked(name, parse_overrides(words), list(words)), **{"gpus": 64, "gpu": "h100", "net": "400G", **options})


def figure(sections, name):
    return next(each for section in sections for each in section.figures if each.name == name)


def test_8b_on_a_trillion_tokens_takes_what_its_flops_say():
    """57.9 GF a token at 40 % of 64 x 989 TFLOP/s are 26 days: nothing is computed again, since the 32 GB of whole weights are never
    there. A twentieth for what is not arithmetic, and stops.
    """
    sections = found_for("llama-3.1-8b", SHAPE)
    days = figure(sections, "time").value / 86400
    least = 1e12 * 57.9e9 / (0.4 * 64 * 989e12) / 86400
    assert least <= days <= 1.05 * least
    assert not [each for section in sections for each in section.figures if each.name == "whole weights"]
    assert figure(sections, "GPU-hours").value == pytest.approx(days * 24 * 64)
    assert figure(sections, "cost").value == pytest.approx(days * 24 * 64 * 2.5)
    assert figure(sections, "MFU, PaLM's count").value > figure(sections, "MFU, causal").value
    assert figure(sections, "communication hidden").value == "yes"


def test_the_lines_that_start_it_have_what_was_planned():
    [*_, start] = found_for("llama-3.1-8b", SHAPE)
    for line in start.lines:
        assert (
            "-m trivium.cli pretrain tokens=FOLDER preset=llama-3.1-8b seq_len=8192 batch_tokens=8388608 steps=119209 micro_batch" in line
        )
    [*_, start] = found_for("quickstart", ["pretrain.steps=500"], gpus=8)
    assert "-m trivium.cli run quickstart pretrain.steps=500 pretrain.micro_batch_rows=2" in start.lines[0]


def test_the_same_by_preset_and_by_stage():
    by_preset, by_stage = found_for("llama-3.1-8b", SHAPE), found_for("pretrain", ["preset=llama-3.1-8b", *SHAPE])
    assert figure(by_preset, "time") == figure(by_stage, "time")


def test_every_number_of_every_section_says_where_it_comes_from():
    sections = found_for("quickstart", gpus=8)
    plain = json.loads(json.dumps(as_json(sections)))
    assert [section["title"] for section in plain][-3:] == ["text", "cheaper or faster", "to start it"]
    assert {each["tag"] for section in plain for each in section["figures"]} <= TAGS
    assert sum(len(section["figures"]) for section in plain) > 30
    assert all(section.title in as_text(sections) for section in sections)


@pytest.mark.parametrize(
    ("words", "taken"),
    [
        ([], "all GPUs sample, then train"),
        (["kind=vllm", "max_lag=1"], "one step off"),
        (["kind=vllm", "max_lag=3", "in_flight=true"], "asynchronous"),
    ],
)
def test_reinforcement_learning_is_split_by_simulation_and_planned_as_the_recipe_has_it(words, taken):
    options = [f"reinforce.engine.{word}" for word in words] + ["reinforce.engine.urls=http://localhost:8000"] * bool(words)
    sections = found_for("quickstart", options, gpus=8)
    [split] = [section for section in sections if section.title.startswith(f"a phase of reinforce, simulated; taken: {taken}")]
    first, *others = split.figures[:3]
    assert first.name == taken
    assert others[0].value <= others[1].value
    assert {each.name for each in (first, *others)} == {"all GPUs sample, then train", "one step off", "asynchronous"}
    assert figure(sections, "reinforce").value == pytest.approx(first.value * figure_phases(sections), rel=1e-6)
    samplers = int(first.note.split(" GPUs sample")[0].split()[-1]) if words else 0
    lines = sections[-1].lines
    assert f"--nproc-per-node {8 - samplers} " in lines[-1] or (samplers == 7 and "torchrun" not in lines[-1])
    assert ("vllm serve" in lines[0]) == bool(words)


def figure_phases(sections):
    return next(stage.phases for stage in load_recipe("quickstart", {}).stages.values() if stage.kind == "reinforce")


def test_separate_samplers_have_nodes_of_their_own_where_there_are_several():
    sections = found_for("grpo", gpus=16)
    [split] = [section for section in sections if section.title.startswith("a phase of reinforce")]
    assert [each.note.split(": ")[1].startswith("8 GPUs sample, ") for each in split.figures[:3]] == [False, True, True]


def test_one_gpu_does_not_sample_and_train_apart():
    options = ["reinforce.engine.kind=vllm", "reinforce.engine.max_lag=1", "reinforce.engine.urls=http://localhost:8000"]
    with pytest.raises(ConfigError, match="reinforce samples on GPUs of its own, but 1 x H100 do not hold servers and trainers apart"):
        found_for("quickstart", options, gpus=1)


def test_alternatives_are_cheaper_or_faster_and_at_most_three():
    jobs = jobs_of(asked("llama-3.1-8b", {"tokens": 1e12}, SHAPE).recipe)
    plan = plan_cluster(jobs, Cluster(device("a100"), 64))
    found = alternatives(jobs, plan, others_than(plan.cluster), None)
    assert 1 <= len(found) <= 3
    assert all(other.cost < plan.cost or other.seconds < plan.seconds for _, other in found)


def test_text_that_is_read_too_often_is_warned_of():
    rare = found_for("llama-3.1-8b", [*SHAPE, "unique_tokens=1e10"])
    assert any("10.0B tokens of text are read 100 times" in line for section in rare for line in section.lines)
    assert figure(rare, "best tokens").note != figure(found_for("llama-3.1-8b", SHAPE), "best tokens").note
    assert not any("warning" in line for section in found_for("llama-3.1-8b", SHAPE) for line in section.lines)


def test_an_update_that_is_too_small_for_the_gpus_is_said():
    sections = found_for("quickstart")
    assert "16 of 64 GPUs have work: an update has 2,048 tokens" in figure(sections, "pretrain").note


@pytest.mark.parametrize(
    ("name", "words", "options", "message"),
    [
        ("quickstar", [], {}, "there is no recipe, preset or run folder 'quickstar'; did you mean 'quickstart'?"),
        ("llama-3.1-8b", [], {}, "tokens is a number here, such as tokens=1e12"),
        ("llama-3.1-8b", ["tokens=corpus"], {}, "tokens is a number here"),
        ("llama-3.1-8b", ["tokens=0"], {}, "'tokens' is 0; it is a number above 0"),
        ("llama-3.1-8b", ["tokens=1e300"], {}, r"'tokens' is 1e\+300; it is a number above 0 and at most 1e\+18"),
        ("llama-3.1-8b", ["tokens=true"], {}, "tokens is a number here"),
        ("llama-3.1-8b", ["tokens=[1, 2]"], {}, "tokens is a number here"),
        ("llama-3.1-8b", [*SHAPE, "unique_tokens=much"], {}, "unique_tokens is a number here"),
        ("llama-3.1-8b", SHAPE, {"gpu": "h101"}, "no GPU 'h101' is known; did you mean 'h100'?"),
        ("llama-3.1-8b", SHAPE, {"gpus": 1, "gpu": "a30"}, "do not fit on 1 x A30: .* what would fit: "),
        ("llama-3.1-8b", SHAPE, {"with_calibration": True}, "--calibrate measures the device at hand, which is '.*', for a plan of H100"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_a_line(name, words, options, message):
    with pytest.raises(ConfigError, match=message):
        found_for(name, words, **options)


def test_layers_are_measured_on_this_machine():
    from trivium.nn.config import llama

    config = llama(vocab_size=300, depth=4, width=32, max_seq_len=32)
    machine = Machine(device="cpu", threads=1, precision="float32", ceiling=1e10, compile="off", kernels="torch", products="full")
    fit = measure(config, 2, 32, machine, peak=1e12)
    assert fit.tokens == 64
    assert 0 < fit.step_seconds(1) <= fit.step_seconds(4)
    assert 0 < fit.share < 1
    assert fit.margin >= 1


def test_what_was_measured_of_layers_makes_the_plan_calibrated(monkeypatch):
    from trivium.plan.calibration import LayerFit
    from trivium.stages.planning import layers

    fit = LayerFit(8192, 0.01, 0.02, 1e9, 1e9, share=0.2, margin=1.5)
    monkeypatch.setattr(layers, "load", lambda machine, work: {name: getattr(fit, name) for name in fit.__slots__})
    jobs = jobs_of(asked("llama-3.1-8b", {"tokens": 1e12}, SHAPE).recipe)
    assert layer_fit(jobs, device("h100"), with_calibration=False) == fit
    sections = found_for("llama-3.1-8b", SHAPE)
    assert figure(sections, "tokens/s").tag == "calibrated"
    assert 0.95 * 0.2 * 57.9 / 72.9 <= figure(sections, "MFU, PaLM's count").value <= 0.2  # the lower where all is computed again


def test_a_machine_for_dials_is_as_fast_as_the_cluster():
    assert machine_for(Cluster(device("h100"), 64)).ceiling == 64 * 989e12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "quickstart", "--against"], "--against compares the plan for this machine with a run"),
        (["plan", "quickstart", "--json"], "--json is for the plan of a cluster"),
        (["plan", "llama-3.1-8b", "tokens=1e12"], "a shape without text is planned for a cluster"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments, message):
    ended = CliRunner().invoke(app, arguments)
    assert isinstance(ended.exception, ConfigError)
    assert message in str(ended.exception)


def test_the_command_prints_json_without_torch(light, tmp_path):
    ended = light.run(["plan", "llama-3.1-8b", *SHAPE, "--gpus", "64", "--json"], tmp_path)
    assert (ended.code, ended.loaded_torch) == (0, False), ended.err
    assert json.loads(ended.out)[0]["title"].startswith("stages on 64 x H100")


@pytest.mark.parametrize(
    ("stage", "options", "wholes", "beside"),
    [
        ("finetune", {"data": "x", "steps": 1}, 0, (0, 0)),
        ("finetune", {"data": "x", "steps": 1, "select": {"kind": "reward", "reward_model": "r", "prompts": "p"}}, 1, (0, 0)),
        ("finetune", {"data": "x", "steps": 1, "lora": {}}, 1, (0, 0)),
        ("prefer", {"data": "x", "steps": 1}, 0, (0, 0)),
        ("prefer", {"data": "x", "steps": 1, "objective": {"kind": "tdpo"}}, 1, (0, 1)),
        ("prefer", {"data": "x", "steps": 1, "objective": {"kind": "tdpo"}, "lora": {}}, 1, (0, 0)),
        ("prefer", {"data": "x", "steps": 1, "reference_update": {}}, 0, (1, 0)),
        ("reward", {"data": "x", "heldout": "y", "steps": 1}, 0, (0, 0)),
        ("reinforce", {"prompts": "p", "reward_model": ["r"], "phases": 1, "method": "grpo"}, 1, (2, 0)),
        ("reinforce", {"prompts": "p", "reward_model": ["r"], "phases": 1, "method": "grpo", "engine": VLLM}, 0, (0, 2)),
        ("reinforce", {"prompts": "p", "reward_model": ["r"], "phases": 1, "engine": VLLM}, 0, (0, 2)),
        ("reinforce", {"prompts": "p", "reward_model": ["r"], "phases": 1, "engine": {"kind": "native"}}, 1, (0, 2)),
        ("reinforce", {"prompts": "p", "reward_model": ["r"], "phases": 1}, 2, (2, 0)),
    ],
)
def test_what_is_sampled_from_here_is_whole_on_every_rank_with_what_reads_its_answers(stage, options, wholes, beside):
    config = llama(vocab_size=1024, depth=4, width=64, max_seq_len=128)
    found = single(stage, {"model": "m", **options}).stages[stage]
    training = training_of(Job(stage, found, Work(0, 0), config, 1024))
    assert (training.wholes, (training.read_only, training.read_apart)) == (wholes, beside)
