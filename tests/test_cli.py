"""The command line as a user meets it: help without torch, plans that write nothing, chats, and interrupts that cost nothing."""

import json
import runpy
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.fork_server import ROOT
from tests.tiny import RECIPE
from trivium.cli import STAGES
from trivium.core.run import METRICS

QUICKSTART_STAGES = [
    "prepare", "tokenize", "pretrain", "demonstrate", "finetune", "annotate", "reward", "reinforce", "prefer", "evaluate"
]  # fmt: skip
COMMANDS = ("run", "study", "recipes", "report", "chat", "generate", "fetch", "doctor", "data", "plan")
OPTIONS = {
    "prepare": "filters", "tokenize": "vocab_size", "pretrain": "batch_tokens", "demonstrate": "dictionary", "arithmetic": "largest",
    "facts": "abstaining", "pages": "facts_per_page", "synthesize": "rounds",
    "finetune": "batch_size", "sample": "keep", "annotate": "annotators", "reward": "heldout", "reinforce": "kl_coef",
    "plant": "corpus", "proxy": "anti_expert", "prefer": "reference_update", "evaluate": "models", "critique": "rounds",
    "feedback": "judge", "magpie": "count", "self_instruct": "requests", "curate": "filters", "matches": "scored", "rank": "data",
    "route": "routers",
}  # fmt: skip
MACHINE = ("machine.threads=1", "machine.precision=float32", "machine.compile=off", "machine.ceiling=5e10")
TRAIN = (
    "finetune",
    "model=runs/tiny/pretrain/model",
    "data=runs/tiny/demonstrate/questions/demonstrations.jsonl",
    "steps=200",
    "batch_size=8",
    "seq_len=96",
)
IMPORTED = """
import sys
sys.argv = ["trivium", *sys.argv[1:]]
from trivium.cli import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
heavy = [name for name in ("torch._C", "pyarrow.lib", "transformers", "pandas") if name in sys.modules]
assert not heavy, heavy
"""


@pytest.mark.parametrize("stage", STAGES)
def test_help_of_a_stage_lists_its_options_without_torch(stage, light, tmp_path):
    ended = light.run([stage, "--help"], tmp_path)
    assert (ended.code, ended.err, ended.loaded_torch) == (0, "", False)
    assert f"Usage: trivium {stage}" in ended.out
    assert f"  {OPTIONS[stage]} " in ended.out


@pytest.mark.parametrize("command", [(), *((command,) for command in COMMANDS)])
def test_help_of_a_command_needs_no_torch(command, light, tmp_path):
    ended = light.run([*command, "--help"], tmp_path)
    assert (ended.code, ended.err, ended.loaded_torch) == (0, "", False)
    assert "Usage: trivium" in ended.out


@pytest.mark.parametrize(
    "arguments", [["--help"], ["pretrain", "--help"], ["evaluate", "--help"], ["data", "show", "--help"], ["recipes"], ["fetch"]]
)
def test_a_fresh_interpreter_loads_nothing_heavy_for_it(arguments):
    ended = subprocess.run([sys.executable, "-c", IMPORTED, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_without_arguments_it_shows_its_help(light, tmp_path):
    ended = light.run([], tmp_path)
    assert "Usage: trivium" in ended.out
    assert ended.err == ""


def test_it_runs_as_a_module_too(monkeypatch):
    started = []
    monkeypatch.setattr("trivium.cli.main", lambda: started.append(sys.argv[0]))
    runpy.run_module("trivium", run_name="__main__")
    assert len(started) == 1


def test_recipes_and_assets_are_listed(light, tmp_path):
    recipes = light.run(["recipes"], tmp_path)
    assert recipes.code == 0
    assert {"expert_iteration", "quickstart"} <= {line.split()[0] for line in recipes.out.splitlines()}
    assets = light.run(["fetch"], tmp_path, environment={"TRIVIUM_CACHE": str(tmp_path)})
    assert {"wiki-leads", "gcide", "docstrings"} <= {line.split()[0] for line in assets.out.splitlines()}
    assert "docstrings   here" in assets.out
    assert not list(tmp_path.iterdir())


def test_a_classifier_of_quality_is_trained_and_then_filters(light, heavy, tmp_path):
    for name, word in (("good", "thus"), ("other", "click")):
        rows = [{"text": f"the {word} of that land and {word} be {number}", "url": f"https://a.org/{number}"} for number in range(60)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    trained = light.run(["quality", "good.jsonl", "other.jsonl", "classifier"], tmp_path)
    assert trained.code == 0, trained.err
    assert "100.0% of 6 good and 100.0% of 6 other texts put right" in trained.out
    filters = 'filters=[{kind = "quality", classifier = "classifier"}]'
    ended = heavy.run(["prepare", 'sources=["good.jsonl", "other.jsonl"]', filters, "--out", "out"], tmp_path)
    assert ended.code == 0, ended.err
    funnel = json.loads((tmp_path / "out/prepare/funnel.json").read_text())
    assert (funnel["kept"]["documents"], funnel["dropped"][0]["documents"]) == (60, 60)
    assert "quality: not like the good texts" in (tmp_path / "out/report.html").read_text()


def test_personal_data_is_replaced_where_it_is_asked_for_and_said_so(heavy, tmp_path):
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"text": f"{number}: write to me{number}@example.com"}) + "\n" for number in range(9))
    )
    ended = heavy.run(["prepare", 'sources=["a.jsonl"]', 'scrub=["email"]', "--out", "out"], tmp_path)
    assert ended.code == 0, ended.err
    assert "replaced 9 of kind email by <EMAIL> in 9 documents" in ended.err
    assert "write to xx0@xxxxxxx.xxx" in (tmp_path / "out/report.html").read_text()
    assert "me3@example.com" not in (tmp_path / "out/report.html").read_text()


def test_a_dry_run_prints_the_plan_and_writes_nothing(heavy, tiny):
    shutil.rmtree(tiny / "runs")
    before = sorted(tiny.rglob("*"))
    ended = heavy.run(["run", RECIPE, "--dry-run"], tiny)
    assert ended.code == 0, ended.err
    assert [line.split()[0] for line in ended.out.splitlines()[1:11]] == QUICKSTART_STAGES
    assert sorted(tiny.rglob("*")) == before


def test_a_dry_run_of_one_stage_reads_the_shape_of_the_model_it_starts_from(heavy, tiny):
    ended = heavy.run([*TRAIN, *MACHINE, "--dry-run"], tiny)
    assert ended.code == 0, ended.err
    assert ended.out.splitlines()[1].split()[:2] == ["finetune", "36.0K"]


def test_a_finished_run_is_left_as_it_is(heavy, tiny):
    run = tiny / "runs" / "tiny"
    before = (run / METRICS).read_bytes()
    for recipe in (RECIPE, "runs/tiny/run.toml"):
        ended = heavy.run(["run", recipe], tiny)
        assert ended.code == 0, ended.err
        assert ended.err.count("complete, nothing to do") == len(QUICKSTART_STAGES)
        assert "report: runs/tiny/report.html" in ended.out
    assert (run / METRICS).read_bytes() == before


def test_a_changed_option_runs_that_stage_and_those_that_read_it(heavy, tiny):
    ended = heavy.run(["run", RECIPE, "prefer.steps=20"], tiny)
    assert ended.code == 0, ended.err
    assert "prefer: options or inputs changed, starting it again" in ended.err
    assert "evaluate: options or inputs changed, starting it again" in ended.err
    assert ended.err.count("complete, nothing to do") == len(QUICKSTART_STAGES) - 2


def test_generate_answers_one_prompt_or_a_file_in_json_lines(heavy, finished):
    words = ["generate", "runs/tiny", "--max-new-tokens", "5", "--seed", "3"]
    one = heavy.run([*words, "What is a baldor?"], finished)
    assert one.code == 0, one.err
    [answer] = map(json.loads, one.out.splitlines())
    assert answer["prompt"] == "What is a baldor?"
    assert set(answer) == {"prompt", "response", "stopped"}
    assert heavy.run([*words, "What is a baldor?"], finished).out == one.out
    many = heavy.run([*words, "runs/tiny/demonstrate/questions/heldout.jsonl"], finished)
    assert len([json.loads(line) for line in many.out.splitlines()]) == 8


@pytest.mark.parametrize("ending", ["", "\n", "\n\nnot asked any more\n"])
def test_chat_answers_until_an_empty_line_or_the_end(ending, heavy, finished):
    ended = heavy.run(
        ["chat", "runs/tiny/finetune/model", "--max-new-tokens", "4"], finished, said="What is a lamp?\nAnd a river?" + ending
    )
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.count("model: ") == 3  # and what it is
    assert "36,000 parameters" in ended.out


def test_chat_says_when_a_line_is_longer_than_the_context_and_goes_on(heavy, finished):
    ended = heavy.run(["chat", "runs/tiny/finetune/model", "--max-new-tokens", "4"], finished, said="lamp " * 300 + "\nWhat is a lamp?\n")
    assert ended.code == 0, ended.err
    assert "to leave room for an answer" in ended.out
    assert ended.out.count("model: ") == 3  # and what it is


def test_report_is_written_again(heavy, tiny):
    page = tiny / "runs" / "tiny" / "report.html"
    page.unlink()
    ended = heavy.run(["report", "runs/tiny"], tiny)
    assert ended.code == 0, ended.err
    assert page.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupt_saves_and_the_same_command_goes_on_with_the_same_bits(number, heavy, tiny):
    command = [*TRAIN, *MACHINE, "micro_batch_rows=8", "save_every_s=1000"]
    going = heavy.start([*command, "--out", "run"], tiny)
    metrics = tiny / "run" / METRICS
    deadline = time.monotonic() + 60
    while not (metrics.exists() and metrics.read_bytes().count(b"\n") > 5) and time.monotonic() < deadline:
        time.sleep(0.01)
    going.signal(number)
    ended = going.wait()
    assert ended.code == 128 + number, ended.err
    assert ended.err.splitlines()[-1].startswith(f"trivium: stopped by {signal.Signals(number).name}; saved after step ")
    assert not (tiny / "run" / "finetune" / "done.json").exists()
    ended = heavy.run([*command, "--out", "run"], tiny)
    assert ended.code == 0, ended.err
    assert "going on after step" in ended.err
    assert heavy.run([*command, "--out", "straight"], tiny).code == 0
    for name in (METRICS, "finetune/model/model.safetensors"):
        assert (tiny / "run" / name).read_bytes() == (tiny / "straight" / name).read_bytes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupt_outside_of_training_is_one_line(number, heavy, tiny):
    shutil.rmtree(tiny / "runs")
    going = heavy.start(["run", RECIPE, "demonstrate.num_comparisons=16", "--quiet"], tiny)
    deadline = time.monotonic() + 60
    while not (tiny / "runs" / "tiny" / "prepare" / "started.json").exists() and time.monotonic() < deadline:
        time.sleep(0.001)
    going.signal(number)
    ended = going.wait()
    assert ended.code == 128 + number, ended.err
    assert ended.err.count("\n") == 1
    assert ended.err.startswith("trivium: stopped")
    assert not list(tiny.rglob(".*.tmp"))
