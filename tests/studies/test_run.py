"""The frame of all studies: runs made once and shared, findings kept, one page for all, mistakes in one line."""

import json
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from trivium.cli import app
from trivium.core.config import component, plain
from trivium.core.errors import ConfigError, DataError
from trivium.core.interrupt import Interrupted
from trivium.nn.preset import preset as shape_of
from trivium.report.svg import Line, line_chart
from trivium.stages import base
from trivium.stages.machine import Machine
from trivium.stages.planning.jobs import jobs_of
from trivium.stages.planning.plan import seconds
from trivium.stages.recipe import load_recipe
from trivium.studies import run, side_by_side
from trivium.studies.catalogue import STUDIES
from trivium.studies.finding import Control, Figure, Finding
from trivium.studies.overview import controls_of, overview
from trivium.studies.study import Trial

RIGHT = (Control("planted", is_positive=True, is_detected=True), Control("none", is_positive=False, is_detected=False))
LOOKS: list[str] = []  # which studies were answered anew


@component
class Plain:
    """Needs no run: a number is asked."""

    name: ClassVar = "plain"
    claim: ClassVar = "numbers are positive"
    question: ClassVar = "Is it?"
    rule: ClassVar = "above 0"
    expected: ClassVar = "yes"
    number: int = 1

    def trials(self, preset):
        return []

    def find(self, folders):
        LOOKS.append(self.name)
        chart = line_chart("a <line>", [Line("one", [(0, 0), (1, 1)])])
        return Finding("It is.", self.number > 0, ("number",), [(self.number,)], RIGHT, [Figure("One", "of one", chart)])


@component
class Runs:
    """Makes a run by a recipe."""

    name: ClassVar = "runs"
    claim: ClassVar = "runs run"
    question: ClassVar = "Do they?"
    rule: ClassVar = "a folder"
    expected: ClassVar = "yes"

    def trials(self, preset):
        return [Trial("small.toml", {"seed": seed}, f"small-{seed}") for seed in ((1, 2) if preset == "laptop" else (3,))]

    def find(self, folders):
        LOOKS.append(self.name)
        missing = [folder for folder in folders if not (folder / "prepare").is_dir()]
        if missing:
            raise DataError(f"{missing[0]}: has no stage prepare")
        return Finding("They do.", None, ("folder",), [(folder.name,) for folder in folders], RIGHT)


@component
class Broken(Plain):
    """Cannot be answered."""

    name: ClassVar = "broken"

    def find(self, folders):
        raise DataError("the table is empty")


@component
class Defective(Plain):
    """Has a defect of ours."""

    name: ClassVar = "defective"

    def find(self, folders):
        raise ZeroDivisionError("no rows")


@component
class Counted(Runs):
    """Makes runs, and has an option of its own."""

    name: ClassVar = "counted"
    number: int = 1


@component
class Told(Plain):
    """Reads rows that somebody published."""

    name: ClassVar = "told"
    published: str = ""


@pytest.fixture
def studies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.jsonl").write_text("".join(json.dumps({"text": f"A page about number {n}."}) + "\n" for n in range(40)))
    (tmp_path / "small.toml").write_text('name = "small"\n[stages.prepare]\nsources = ["text.jsonl"]\nheldout_share = 0.1\nfilters = []\n')
    known = {study.name: study for study in (Plain, Runs, Broken)}
    monkeypatch.setattr(run, "STUDIES", known)
    monkeypatch.setattr(side_by_side, "num_cores", lambda: 1)  # runs are made here; those in processes are in test_side_by_side.py
    LOOKS.clear()
    return tmp_path


def test_a_study_that_needs_no_run_is_answered_from_its_options(studies):
    facts, page = run.run_study("plain", [], {"number": -1}, None)
    assert page.relative_to(studies if page.is_absolute() else ".").as_posix() == "runs/studies/study-plain/study.html"
    assert (facts["holds"], facts["outcome"], facts["table"]) == (False, "not seen", [{"number": -1}])
    text = page.read_text()
    assert "The rule, written before: above 0" in text
    assert "Expected on a laptop: yes" in text
    svg = (page.parent / "figure-1.svg").read_text()
    assert svg.startswith('<svg role="img"')
    assert 'xmlns="http://www.w3.org/2000/svg"><style>' in svg
    assert "a &lt;line&gt;" in svg


def test_runs_are_made_once_and_findings_kept_until_something_changes(studies):
    facts, _ = run.run_study("runs", [], {}, None, quiet=True)
    assert [row["folder"] for row in facts["table"]] == ["small-1", "small-2"]
    mark = (studies / "runs/studies/small-1/prepare/done.json").stat().st_mtime_ns
    assert run.run_study("runs", [], {}, None, quiet=True)[0] == facts
    assert LOOKS == ["runs"]
    assert (studies / "runs/studies/small-1/prepare/done.json").stat().st_mtime_ns == mark
    run.run_study("runs", [], {"prepare": {"heldout_share": 0.2}}, None, quiet=True)
    assert LOOKS == ["runs", "runs"]


def test_rows_that_are_named_by_how_their_files_begin_are_looked_at_again_when_they_change(studies):
    run.STUDIES["told"] = Told
    (studies / "rows").mkdir()
    options = {"published": str(studies / "rows/document")}
    for content, looks in (("a", 1), (None, 1), ("ab", 2)):
        if content:
            (studies / "rows/document.idx").write_text(content)
        run.run_study("told", [], options, None)
        assert ["told"] * looks == LOOKS


def test_a_finding_that_was_damaged_is_made_again(studies):
    _, page = run.run_study("plain", [], {}, None)
    page.write_text("")
    run.run_study("plain", [], {}, None)
    assert LOOKS == ["plain", "plain"]
    assert page.read_text()


def test_folders_of_the_users_own_are_looked_at_and_what_is_missing_is_said(studies):
    run.run_study("runs", [], {}, None, preset="gpu", quiet=True)
    facts, page = run.run_study("runs", [studies / "runs/studies/small-3"], {}, None)
    assert [row["folder"] for row in facts["table"]] == ["small-3"]
    assert page.parent.parent.name == "small-3"
    with pytest.raises(DataError, match="has no stage prepare"):
        run.run_study("runs", [studies / "runs"], {}, None)
    with pytest.raises(DataError, match="gone: there is no such folder"):
        run.run_study("runs", [studies / "gone"], {}, None)


def test_all_studies_make_one_page_and_one_that_fails_does_not_stop_the_others(studies):
    table, page, failure = run.run_all([], {"seed": 7}, None, quiet=True)
    assert isinstance(failure, DataError)
    assert [line.split(":")[0] for line in table.splitlines() if line[0] != " "] == ["plain", "runs", "broken", "seen"]
    assert "runs: cannot tell at this scale (controls: 2 right)\n  claim:    runs run\n  expected: yes\n  seen:     They do." in table
    assert table.endswith("seen: plain; cannot tell at this scale: runs; no answer: broken.")
    text = page.read_text()
    assert all(said in text for said in ("numbers are positive", "They do.", "cannot tell", "no answer", "the table is empty"))
    assert 'href="study-runs/study.html"' in text
    assert 'href="study-broken/study.html"' not in text
    run.run_all([], {"seed": 7}, None, quiet=True)
    assert LOOKS == ["plain", "runs"]


@pytest.mark.parametrize(("worst", "kind", "why"), [(Broken, DataError, "the table is empty"), (Defective, ZeroDivisionError, "no rows")])
def test_one_study_that_fails_costs_no_other_its_answer_and_its_error_ends_the_command(studies, capsys, monkeypatch, worst, kind, why):
    monkeypatch.setattr(run, "STUDIES", {"broken": worst, "runs": Runs, "plain": Plain})
    with pytest.raises(kind, match=why):
        app(["study", "all", "--quiet"], standalone_mode=False)
    said = capsys.readouterr().out
    assert "cannot tell at this scale: runs; no answer: broken." in said.replace(worst.name, "broken")
    assert why in said
    assert said.splitlines()[-1] == "study:  runs/studies/studies.html"
    assert LOOKS == ["plain", "runs"]  # what needs no run is answered first


def test_a_control_that_is_wrong_outweighs_the_answer():
    wrong = Control("planted", is_positive=True, is_detected=False)
    finding = Finding("Seen.", True, ("x",), [(1,)], (wrong, RIGHT[1]))
    assert finding.outcome == "controls failed"
    assert controls_of(finding.facts({})) == "wrong: planted"
    with pytest.raises(ValueError, match="a positive and a negative control"):
        Finding("Seen.", True, ("x",), [(1,)], RIGHT[:1])


def test_a_number_that_is_not_finite_is_none_for_programs(studies):
    finding = Finding("Never.", False, ("year", "n"), [(float("inf"), 1), (float("nan"), 2), (2028.5, 3)], RIGHT)
    finding.write(studies / "found", run.about(Plain()))

    def refused(constant):
        raise AssertionError(constant)

    facts = json.loads((studies / "found/finding.json").read_text(), parse_constant=refused)
    assert facts["table"] == [{"year": None, "n": 1}, {"year": None, "n": 2}, {"year": 2028.5, "n": 3}]
    assert facts == finding.facts(run.about(Plain()))


def test_a_run_that_goes_on_is_looked_at_again(studies):
    (studies / "mine/prepare").mkdir(parents=True)
    (studies / "mine/prepare/done.json").write_text("{}")
    for metrics, looks in (("a", 1), ("a", 1), ("ab", 2)):
        (studies / "mine/metrics.jsonl").write_text(metrics)
        run.run_study("runs", [studies / "mine"], {}, studies / "out")
        assert ["runs"] * looks == LOOKS


@pytest.mark.parametrize(
    ("name", "folders", "options", "preset", "message"),
    [
        ("plaim", [], {}, "laptop", "there is no study 'plaim'; did you mean 'plain'"),
        ("told", [], {"publised": "rows"}, "laptop", "unknown option 'publised'; did you mean 'published'"),
        ("counted", [], {"nunber": 1}, "laptop", "unknown option 'nunber'; did you mean 'number'"),
        ("plain", [], {"numbr": 1}, "laptop", "unknown option 'numbr'; did you mean 'number'"),
        ("runs", ["."], {"prepare": {"heldout_share": 0.2}}, "laptop", "there are none to make"),
        ("runs", [], {"prepar": {"heldout_share": 0.2}}, "laptop", "unknown option 'prepar'; did you mean 'prepare'"),
        ("runs", [], {}, "laptops", "preset is 'laptops'; did you mean 'laptop'"),
        ("runs", ["."], {}, "laptops", "preset is 'laptops'; did you mean 'laptop'"),
    ],
)
def test_mistakes_are_one_line(studies, name, folders, options, preset, message):
    run.STUDIES.update(told=Told, counted=Counted)
    with pytest.raises(ConfigError, match=message):
        run.run_study(name, [studies / folder for folder in folders], options, None, preset=preset, quiet=True)


def test_all_takes_only_what_every_recipe_has(studies):
    with pytest.raises(ConfigError, match="unknown option 'number'"):
        run.run_all([], {"number": 3}, None)
    with pytest.raises(ConfigError, match="'all' makes runs of its own"):
        run.run_all([studies], {}, None)
    with pytest.raises(ConfigError, match="preset is 'laptops'"):
        run.run_all([], {}, None, preset="laptops")


# The claims of the overview (Huyen 2023, Biderman et al. 2023 and others), each with the study that says whether it is seen
CLAIMS = {
    "data sets grow faster than new text": "stock",
    "a trillion tokens are 15 million books": "books",
    "deduplication neither helps nor hurts": "dedup",
    "the order of training does not influence memorisation": "order",
    "term frequency goes with few-shot accuracy": "term_frequency",
    "twice the batch in half the time does no harm": "batch_size",
    "RLHF improves on imitation": "rlhf",
    "instruction pre-training beats plain pre-training": "instruction_pretraining",
    "an aligned model writes its own instructions": "magpie",
    "proxy tuning comes near direct tuning": "adapt",
    "from ranking to routing": "routing",
    "process supervision beats outcome supervision": "process_supervision",
    "a constitution lowers harm": "constitutional",
}


@pytest.mark.parametrize("name", CLAIMS.values(), ids=list(CLAIMS))
def test_every_claim_of_the_overview_has_a_study_that_all_goes_through(name):
    assert name in STUDIES
    assert run.about(STUDIES[name]())["expected"]


def test_a_claim_that_is_not_seen_is_said_plainly():
    table, page = overview([{**run.about(Plain()), "outcome": "not seen", "verdict": "It is not.", "controls": []}])
    assert table.startswith("plain: not seen at this scale (controls: none)")
    assert "not seen at this scale: plain." in page


@pytest.mark.parametrize("study", STUDIES.values(), ids=list(STUDIES))
def test_a_study_says_everything_before_it_runs(study):
    words = list(run.about(study()).values())[1:]
    assert all(isinstance(word, str) and len(word) > 10 for word in words)
    assert study.question.endswith("?")
    for preset in ("laptop", "gpu"):
        for trial in study().trials(preset):
            assert run.load_recipe(trial.recipe, trial.options)


def _beside(mine, whole):
    """Each number of the options that are put over a recipe, beside the recipe's own."""
    if isinstance(mine, dict):
        return [pair for name, value in mine.items() if name != "evaluate_every" for pair in _beside(value, whole[name])]
    return [(mine, whole)]


@pytest.mark.parametrize("study", STUDIES.values(), ids=list(STUDIES))
def test_a_laptop_takes_no_more_than_the_recipe(study):
    for trial in study().trials("laptop"):
        stages = plain(load_recipe(trial.recipe, {}))["stages"]
        pairs = _beside({stage: options for stage, options in trial.options.items() if stage != "seed"}, stages)
        assert all(mine <= whole for mine, whole in pairs)


def test_all_studies_take_a_laptop_less_than_90_minutes_by_the_arithmetic_of_the_plan(monkeypatch):
    """Two cores of 426 GFLOP/s, taken for 300: models below a million parameters reach less of them than the plan takes for granted."""
    monkeypatch.setattr(base, "model_path", Path)
    monkeypatch.setattr(base, "read_config", lambda _: shape_of("pythia-160m"))  # for SmolLM2, which may not be here
    machine = Machine(device="cpu", threads=2, precision="bfloat16", ceiling=3e11, kernels="native", products="int8")
    trials = {trial.folder: trial for study in STUDIES.values() for trial in study().trials("laptop")}
    recipes = [replace(load_recipe(trial.recipe, trial.options), machine=machine) for trial in trials.values()]
    jobs = [job for recipe in recipes for job in jobs_of(recipe)]
    assert sum(seconds(job.work, machine, is_pretraining=job.stage.kind == "pretrain") for job in jobs) / 60 < 85


def test_the_command_line_prints_verdict_controls_and_page(studies, capsys):
    app(["study", "plain", "number=2"], standalone_mode=False)
    said = capsys.readouterr().out
    assert said.splitlines()[:2] == ["It is.", "verdict: seen; controls: 2 right"]


@pytest.mark.parametrize("preset", ["laptop", "gpu"])
def test_studies_that_share_a_folder_ask_for_the_same_run(preset):
    seen = {}
    for study in STUDIES.values():
        for trial in study().trials(preset):
            assert seen.setdefault(trial.folder, trial) == trial


@component
class Also(Runs):
    """Looks at one of the runs, which another study makes too, and at one that fails."""

    name: ClassVar = "also"

    def trials(self, preset):
        return [*Runs.trials(self, preset)[:1], Trial("small.toml", {"prepare": {"sources": ["gone.jsonl"]}}, "gone")]


def test_a_run_that_fails_costs_only_the_studies_that_need_it_and_a_shared_one_is_made_once(studies, monkeypatch):
    monkeypatch.setattr(run, "STUDIES", {"also": Also, "runs": Runs})
    real, started = side_by_side.execute, []
    monkeypatch.setattr(side_by_side, "execute", lambda recipe, folder, **how: (started.append(folder.name), real(recipe, folder, **how)))
    table, _, failure = run.run_all([], {}, None, quiet=True)
    assert started == ["small-1", "gone", "small-2"]
    assert isinstance(failure, DataError)
    assert "gone.jsonl" in str(failure)
    assert f"seen:     {failure}" in table
    assert table.endswith("cannot tell at this scale: runs; no answer: also.")
    assert LOOKS == ["runs"]


def test_a_kill_between_two_runs_costs_only_the_second(studies, monkeypatch):
    """Every study stops at once when it is asked to, also among all of them, and goes on with what is not complete."""
    real, started = side_by_side.execute, []

    def killed(recipe, folder, **options):
        started.append(folder.name)
        if len(started) == 2:
            raise Interrupted(15, "what was complete is kept")
        return real(recipe, folder, **options)

    monkeypatch.setattr(side_by_side, "execute", killed)
    with pytest.raises(Interrupted):
        run.run_all([], {}, None, quiet=True)
    assert (started, LOOKS) == (["small-1", "small-2"], ["plain"])
    mark = (studies / "runs/studies/small-1/prepare/done.json").stat().st_mtime_ns
    _, page, _ = run.run_all([], {}, None, quiet=True)
    assert LOOKS == ["plain", "runs"]
    assert (studies / "runs/studies/small-1/prepare/done.json").stat().st_mtime_ns == mark
    assert "They do." in page.read_text()


@pytest.mark.parametrize(
    ("name", "options"),
    [("stock", {}), ("scaling", {"runs": "t.csv"}), *((name, {"released": "t.csv"}) for name in ("dedup", "batch_size", "term_frequency"))],
)
def test_folders_at_which_nobody_would_look_are_refused(tmp_path, name, options):
    with pytest.raises(ConfigError, match="not at folders; leave one of both out"):
        run.run_study(name, [tmp_path], options, None)


@pytest.mark.parametrize(("name", "said"), [("dedup", "margin of +-0.25 points"), ("batch_size", "at most 0.25 % above")])
def test_the_rule_says_the_number_that_decides(name, said):
    assert said in run.about(STUDIES[name](margin=0.25))["rule"]


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_has_a_row_in_its_documentation(name):
    page = Path(__file__).parents[2] / "docs" / "studies.md"
    assert f"| `{name}` |" in page.read_text()
