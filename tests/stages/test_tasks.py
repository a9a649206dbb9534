"""`evaluate` with tasks on models of a few thousand weights: what it leaves; a kill changes no byte of it; what is wrong in one line."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.nn.io_models import FILES, STOPS, TOKENIZER, ours
from tests.score.chat_server import says, serving
from trivium.core.errors import ArtefactError, ConfigError, DataError
from trivium.core.run import Run
from trivium.evals import harness, task as tasks
from trivium.evals.harness import in_order, is_yes_no, rows_of
from trivium.evals.subject import Subject
from trivium.evals.task import Item, NamedTask
from trivium.generate.engine import Engine
from trivium.nn.io.directory import save_model
from trivium.nn.model import initialise
from trivium.report import write_report
from trivium.score.rewards import Code, Exact, Length, MathAnswer, Numeric
from trivium.stages.base import Foresight
from trivium.stages.computing.tasks import Tasks
from trivium.stages.evaluate import names_of_paths
from trivium.stages.pipeline import execute
from trivium.stages.recipe import single

MACHINE = {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10, "kernels": "torch"}
WORDS = ("king", "land", "sea", "night", "bread", "stone", "assistant", "people")
CHOICES = 'prompt = "Q: {{question}}"\ngroup = "part"\n[scoring]\nkind = "choices"\n'
ANSWER = 'prompt = "Q: {{question}}"\n[scoring]\nkind = "answer"\nmax_new_tokens = 6\nsamples = 2\ntemperature = 1.0\n'
LEFT = ("results.json", "evaluate/tasks.json", "evaluate/items/base/letters.jsonl", "evaluate/items/other/says.jsonl")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(harness, "PIECE_CHARACTERS", 20)  # so that eight items are several pieces
    save_model(tmp_path / "base", ours("llama"), **FILES)
    save_model(tmp_path / "other", initialise(ours("llama"), seed=5), **FILES)
    rows = [{"question": word, "choices": [word[0], "z"], "gold": 0, "answer": word, "part": "ab"[i % 2]} for i, word in enumerate(WORDS)]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("letters.toml").write_text('data = "rows.jsonl"\n' + CHOICES)
    Path("says.toml").write_text('data = "rows.jsonl"\n' + ANSWER)
    return tmp_path


def options(**more: Any) -> dict[str, Any]:
    return {"model": "base", "compare": ["other"], "tasks": ["letters.toml", "says.toml"], "machine": MACHINE} | more


def left(out: str) -> list[bytes]:
    return [(Path(out) / name).read_bytes() for name in LEFT]


def test_models_are_measured_and_compared_on_the_same_items():
    execute(single("evaluate", options()), Path("out"), quiet=True)
    table = {(row["stage"], row["measure"]): row for row in json.loads(Path("out/results.json").read_text())}
    items = [json.loads(line) for line in Path("out/evaluate/items/base/letters.jsonl").read_text().splitlines()]
    assert [item["item"] for item in items] == list(range(8))
    first = table["base", "letters: acc"]
    assert first["value"] == sum(item["scores"]["acc"] for item in items) / 8
    assert first["value"] == sum(item["logprobs"][0] > item["logprobs"][1] for item in items) / 8
    assert first["stderr"] == pytest.approx((first["value"] * (1 - first["value"]) / 7) ** 0.5)
    assert {measure for model, measure in table if model == "other"} == {measure for model, measure in table if model == "base"}
    groups = [table["base", f"letters: acc of {group}"] for group in "ab"]
    assert [group["n"] for group in groups] == [4, 4]
    assert ("base", "says: pass@2") in table
    found = json.loads(Path("out/evaluate/tasks.json").read_text())
    compared = {(row["task"], row["measure"]): row for row in found["differences"]}
    other = table["other", "letters: acc_norm"]["value"] - table["base", "letters: acc_norm"]["value"]
    assert compared["letters", "acc_norm"]["difference"] == pytest.approx(other)
    assert found["tasks"]["letters"]["shown"] == "Q: king\n  -> ' k'\n  -> ' z'"
    assert "item 1 as base reads it:\nQ: king" in Path("out/log.txt").read_text()


def test_the_page_shows_differences_and_the_first_prompt():
    execute(single("evaluate", options()), Path("out"), quiet=True)
    page = write_report(Path("out")).read_text()
    assert "letters: acc" in page
    assert "Q: king" in page
    assert "paired bootstrap" in page


def test_killed_anywhere_it_goes_on_to_the_same_bytes(monkeypatch):
    execute(single("evaluate", options()), Path("straight"), quiet=True)
    asked, whole = [], rows_of

    def dying(subject: Subject, named: NamedTask, items: list[Item], *more: Any, **named_too: Any) -> Any:
        if len(asked) in (3, 9):
            asked.append("died")
            raise KeyboardInterrupt
        asked.append(named.name)
        return whole(subject, named, items, *more, **named_too)

    monkeypatch.setattr("trivium.stages.computing.tasks.rows_of", dying)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            execute(single("evaluate", options()), Path("killed"), quiet=True)
    execute(single("evaluate", options()), Path("killed"), quiet=True)
    pieces = len(in_order(NamedTask.read("letters.toml").items()))
    assert len(asked) == 2 + 2 * 2 * pieces  # nothing was asked twice
    straight, killed = ([json.loads(each) if each.startswith(b"[") else each for each in left(out)] for out in ("straight", "killed"))
    for rows in (straight[0], killed[0]):
        for row in rows:
            row.pop("seconds")
    assert straight == killed


def test_a_change_of_the_data_is_noticed():
    execute(single("evaluate", options(tasks=["letters.toml"])), Path("out"), quiet=True)
    Path("rows.jsonl").write_text(Path("rows.jsonl").read_text().replace("king", "queen"))
    execute(single("evaluate", options(tasks=["letters.toml"])), Path("out"), quiet=True)
    assert "options or inputs changed" in Path("out/log.txt").read_text()


def test_items_in_the_corpus_are_told_and_the_rest_measured():
    long = "the quick brown fox jumps over the lazy dog while seven wise owls watch"
    Path("corpus.jsonl").write_text(json.dumps({"text": f"It says that {long} closely."}) + "\n")
    rows = Path("rows.jsonl").read_text()
    Path("rows.jsonl").write_text(json.dumps({"question": long, "choices": ["t", "z"], "gold": 0, "part": "a"}) + "\n" + rows)
    execute(single("evaluate", options(tasks=["letters.toml"], corpus=["corpus.jsonl"], compare=[])), Path("out"), quiet=True)
    table = {row["measure"]: row for row in json.loads(Path("out/results.json").read_text())}
    assert (table["letters: acc"]["n"], table["letters: acc of items not in the corpus"]["n"]) == (9, 8)
    found = json.loads(Path("out/evaluate/tasks.json").read_text())["tasks"]["letters"]["contamination"]
    assert (found["hit_items"], found["documents"]) == (1, 1)
    assert "1 of 9 items are in the corpus" in Path("out/log.txt").read_text()


def test_answers_are_scored_by_their_rule_and_samples_are_counted():
    task = NamedTask.read("says.toml")
    model = ours("llama")
    subject = Subject(model, TOKENIZER, 0, Engine(model, stop_ids=STOPS, rows=4), lambda turns: TOKENIZER.encode(turns[-1].content))
    rows = rows_of(subject, task, task.items(limit=2), Exact(), seed=1)
    assert [len(row["responses"]) for row in rows] == [2, 2]
    assert rows[0]["scores"].keys() == {"pass@1", "pass@2", "stop_rate"}
    alone = rows_of(subject, task, task.items(limit=2)[1:], Exact(), seed=1)
    assert alone == rows[1:]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"tasks": []}, "give tasks, for example"),
        ({"model": ""}, "give model=DIRECTORY"),
        ({"models": {"a": "base"}}, "give model=DIRECTORY"),
        ({"compare": ["base"]}, "'base'|base is there twice"),
        ({"tasks": ["bolq"]}, "did you mean 'boolq'"),
        ({"tasks": ["letters.toml", "letters.toml"]}, "'letters' is there twice"),
        ({"rewards": [{"kind": "numeric"}]}, "are about answers to prompts"),
        ({"limit": 0}, "limit"),
        ({"corpus": ["nothing.jsonl"]}, "nothing.jsonl"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(more, says):
    with pytest.raises((ConfigError, DataError), match=says):
        single("evaluate", options(**more)).stages["evaluate"].check()


def test_a_task_of_lm_eval_needs_its_package(monkeypatch):
    monkeypatch.setattr("trivium.stages.evaluate.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="pip install 'trivium\\[eval\\]'"):
        single("evaluate", options(tasks=["lm_eval:piqa"])).stages["evaluate"].check()


def test_work_is_foreseen_by_the_number_of_items():
    stage = single("evaluate", options(limit=3)).stages["evaluate"]
    assert "6 items" in stage.foresee("evaluate", Foresight()).notes[0]


def test_models_are_named_by_what_tells_them_apart():
    assert names_of_paths(["runs/a/finetune/model", "runs/b/finetune/model"]) == ["a-finetune", "b-finetune"]
    assert names_of_paths(["@pretrain/model", "x y"]) == ["pretrain", "x_y"]


def test_prompts_and_tasks_go_together():
    Path("prompts.jsonl").write_text(json.dumps({"prompt": "king"}) + "\n")
    stage = single("evaluate", options(tasks=["letters.toml"], prompts="prompts.jsonl", sampling={"max_new_tokens": 4})).stages["evaluate"]
    stage.check()
    with Run(Path("out"), quiet=True, machine=MACHINE) as run:
        run.begin("evaluate", {})
        stage.run(run)
    measures = {row["measure"] for row in json.loads(Path("out/evaluate/results.json").read_text())}
    assert {"letters: acc", "stop_rate"} <= measures


def graded(handler: Any, text: str) -> None:
    """Grades by the first letter of the answer, and prefers what is longer."""
    nonce = re.search(r"VERDICT (\w+) VALUE", text)[1]
    if "ANSWER B" in text:
        first, second = (text.split(f"{nonce} ANSWER {side}")[1].split(nonce)[0] for side in "AB")
        value = "TIE" if len(first) == len(second) else "A" if len(first) > len(second) else "B"
    else:
        value = str(1 + len(text.split(f"{nonce} ANSWER")[1].split(nonce)[0]) % 10)
    says(f"VERDICT {nonce} {value}")(handler, text)


def test_dialogues_are_graded_turn_by_turn_and_compared_in_both_orders():
    Path("talk.jsonl").write_text(
        "".join(json.dumps({"category": part, "turns": ["king", "and land"]}) + "\n" for part in ("math", "writing"))
    )
    short = "max_new_tokens = 6\ntemperature = \"{'writing': 0.7}.get(category, 0.0)\"\n"
    Path("talk.toml").write_text(f'data = "talk.jsonl"\ngroup = "category"\n[scoring]\nkind = "dialogue"\n{short}')
    with serving(graded) as (url, asked):
        more = {"tasks": ["talk.toml"], "judge": {"url": url, "model": "m"}}
        execute(single("evaluate", options(**more)), Path("out"), quiet=True)
        execute(single("evaluate", options(**more)), Path("out"), quiet=True)
    assert len(asked) == 2 * 2 * 2 + 2 * 2 * 2  # models x items x turns, and pairs of answers x orders
    table = {(row["stage"], row["measure"]): row for row in json.loads(Path("out/results.json").read_text())}
    rows = [json.loads(line) for line in Path("out/evaluate/items/base/talk.jsonl").read_text().splitlines()]
    for row in rows:
        assert row["scores"]["grade_1"] == 1 + len(f"\n{row['responses'][0]}\n") % 10
        assert row["scores"]["grade"] == (row["scores"]["grade_1"] + row["scores"]["grade_2"]) / 2
    others = [json.loads(line) for line in Path("out/evaluate/items/other/talk.jsonl").read_text().splitlines()]
    sizes = [
        (sum(map(len, other["responses"][:turn])), sum(map(len, mine["responses"][:turn])))
        for mine, other in zip(rows, others, strict=True)
        for turn in (1, 2)  # a later answer is compared with all that its model said before it
    ]
    won = sum(0.5 if b == a else float(b > a) for b, a in sizes) / len(sizes)
    assert table["other", "talk: win_rate over base"]["value"] == won
    texts = [each["body"]["messages"][0]["content"] for each in asked]
    assert sum("assistant:" in text.split("CONVERSATION")[1] for text in texts) == len(texts) / 2  # the second turn is shown with the first
    told = [text for text in texts if "compare how well they end" in text]
    assert len(told) == 2 * 2
    for text in told:
        first, second = (re.split(r"\w{16} (?:ANSWER|END)", text.split(f"ANSWER {side}\n")[1])[0] for side in "AB")
        both = [row["responses"] for row in (*rows, *others)]
        for shown in (first, second):  # each with its own first answer
            assert any(shown.strip() == f"assistant:\n{one}\n\nuser:\nand land\n\nassistant:\n{two}".strip() for one, two in both)


def test_the_card_of_instructgpt_has_grades_a_win_rate_and_what_is_so_of_the_answers():
    Path("p.jsonl").write_text("".join(json.dumps({"prompt": word}) + "\n" for word in WORDS[:4]))

    def judged(handler: Any, text: str) -> None:
        nonce = re.search(r"VERDICT (\w+) VALUE", text)[1]
        values = re.search(r"VALUE replaced by (.*):", text)[1]
        if values == "yes or no":
            value = "yes" if "express an opinion" in text and "king" in text.split("CONVERSATION")[1].split("ANSWER")[0] else "no"
        else:
            value = "7" if values == "a whole number from 1 (worst) to 7 (best)" else "TIE"
        says(f"VERDICT {nonce} {value}")(handler, text)

    short = Path(NamedTask.read("instructgpt:p.jsonl").task.data)
    card = (Path(tasks.__file__).parent / "tasks/instructgpt.toml").read_text().replace("max_new_tokens = 256", "max_new_tokens = 6")
    Path("card.toml").write_text(f'data = "{short}"\n{card}')
    with serving(judged) as (url, asked):
        execute(single("evaluate", options(tasks=["card.toml"], judge={"url": url, "model": "m"})), Path("out"), quiet=True)
    assert len(asked) == 2 * 4 * (1 + 11) + 4 * 2
    table = {(row["stage"], row["measure"]): row for row in json.loads(Path("out/results.json").read_text())}
    assert table["base", "card: grade"]["value"] == 7
    assert table["other", "card: win_rate over base"]["value"] == 0.5
    assert [table["base", f"card: {name}"]["value"] for name in ("opinion", "hallucination")] == [0.25, 0]
    assert table["base", "card: opinion"]["low"] == pytest.approx(0.0456, abs=1e-3)  # Wilson, 1 of 4


def test_a_question_about_answers_has_a_name_of_its_own():
    Path("odd.toml").write_text('data = "rows.jsonl"\n[scoring]\nkind = "dialogue"\nquestions = {grade = "Is it?"}\n')
    with pytest.raises(ConfigError, match="odd.toml: .*'grade' names a measure"):
        NamedTask.read("odd.toml")


def test_a_dialogue_without_a_judge_is_refused():
    Path("talk.toml").write_text('data = "talk.jsonl"\n[scoring]\nkind = "dialogue"\n')
    Path("talk.jsonl").write_text(json.dumps({"turns": ["king"]}) + "\n")
    with pytest.raises(ConfigError, match="a judge grades its answers; name one: judge.url="):
        single("evaluate", options(tasks=["talk.toml"])).stages["evaluate"].check()


def test_a_judge_that_gives_no_verdict_ends_the_evaluation_in_one_line_and_a_better_one_goes_on():
    Path("talk.jsonl").write_text(json.dumps({"turns": ["king"]}) + "\n")
    Path("talk.toml").write_text('data = "talk.jsonl"\n[scoring]\nkind = "dialogue"\nmax_new_tokens = 6\n')
    with serving(says("I like it."), graded) as (url, _):
        asked = single("evaluate", options(tasks=["talk.toml"], compare=[], judge={"url": url, "model": "m", "retries": 0}))
        with pytest.raises(DataError, match=r"has no verdict of 1 to 10 in its last line: \.\.\.'I like it\.'") as caught:
            execute(asked, Path("out"), quiet=True)
        assert "\n" not in str(caught.value)
        assert not Path("out/results.json").exists()
        execute(asked, Path("out"), quiet=True)
    assert [row["n"] for row in json.loads(Path("out/results.json").read_text()) if row["measure"] == "talk: grade"] == [1]


def test_a_reward_model_is_asked_which_answer_it_prefers():
    save_model(Path("judge"), ours("llama", has_scalar=True), **FILES)
    rows = [{"prompt": word, "chosen": "the land", "rejected": ["sea", "the king of ships"], "subset": "x"} for word in WORDS[:3]]
    Path("pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    execute(single("evaluate", options(model="judge", compare=[], tasks=["reward_bench:pairs.jsonl"])), Path("out"), quiet=True)
    items = [json.loads(line) for line in Path("out/evaluate/items/judge/reward_bench.jsonl").read_text().splitlines()]
    for item in items:
        [chosen], rejected = item["rewards"]
        assert item["scores"]["accuracy"] == sum(float(chosen > other) for other in rejected) / 2
        assert item["scores"]["margin"] == pytest.approx(sum(chosen - other for other in rejected) / 2)
        assert item["scores"]["length_accuracy"] == 0.5  # longer than one, shorter than the other
    table = {row["measure"]: row["value"] for row in json.loads(Path("out/results.json").read_text())}
    assert "reward_bench: accuracy of Chat" not in table  # no record is of its subsets
    parts = ("hep-cpp", "hep-go", "refusals-offensive")
    Path("parts.jsonl").write_text("".join(json.dumps(row | {"subset": part}) + "\n" for row, part in zip(rows, parts, strict=True)))
    execute(single("evaluate", options(model="judge", compare=[], tasks=["reward_bench:parts.jsonl"])), Path("parts"), quiet=True)
    table = {
        row["measure"].removeprefix("reward_bench: accuracy of "): row["value"]
        for row in json.loads(Path("parts/results.json").read_text())
    }
    told = next(line for line in Path("parts/log.txt").read_text().splitlines() if "its sections are without" in line)
    assert "alpacaeval-easy" in told
    assert not any(part in told for part in parts)
    worth = [item["scores"]["accuracy"] for item in items]
    assert table["Reasoning"] == pytest.approx((worth[0] + worth[1]) / 2)
    assert table["all sections"] == pytest.approx(((worth[0] + worth[1]) / 2 + worth[2]) / 2)
    with pytest.raises(ArtefactError, match="is no reward model"):
        execute(single("evaluate", options(tasks=["reward_bench:pairs.jsonl"])), Path("wrong"), quiet=True)


def test_answers_to_prompts_are_compared_with_the_first_models():
    Path("prompts.jsonl").write_text("".join(json.dumps({"prompt": word}) + "\n" for word in WORDS[:4]))
    with serving(graded) as (url, asked):
        more = {"tasks": [], "prompts": "prompts.jsonl", "judge": {"url": url, "model": "m"}, "sampling": {"max_new_tokens": 8}}
        execute(single("evaluate", options(**more)), Path("out"), quiet=True)
    table = {(row["stage"], row["measure"]): row for row in json.loads(Path("out/results.json").read_text())}
    assert len(asked) == 2 * 4
    row = table["other", "judge_win_rate"]
    assert 0 <= row["low"] <= row["value"] <= row["high"] <= 1
    assert "judge_win_rate_length_controlled" in {measure for _, measure in table}
    assert table["other", "judge_same_in_both_orders"]["value"] == 1  # by length, whatever comes first
    assert ("base", "judge_win_rate") not in table


class Planned:
    """A rule whose worths are known beforehand."""

    kind, weight = "planned", 1.0

    def __init__(self, worths):
        self.worths = iter(worths)

    def __call__(self, answers):
        return [next(self.worths) for _ in answers]


def test_a_graded_rule_has_one_measure_whatever_its_values_are():
    task, model = NamedTask.read("says.toml"), ours("llama")
    subject = Subject(model, TOKENIZER, 0, Engine(model, stop_ids=STOPS, rows=4), lambda turns: TOKENIZER.encode(turns[-1].content))
    rows = rows_of(subject, task, task.items(limit=2), Planned([0.0, 0.5, 0.0, 1.0]), seed=1)
    assert [row["scores"]["planned"] for row in rows] == [0.25, 0.5]
    assert all(row["scores"].keys() == {"planned", "stop_rate"} for row in rows)
    assert all(is_yes_no(rule) for rule in (Exact(), Numeric(), MathAnswer(), Code(partial=False)))
    assert not any(is_yes_no(rule) for rule in (Code(), Length(max_words=3)))


def test_a_task_of_lm_eval_is_told_from_ours_of_the_same_name(monkeypatch, place):
    monkeypatch.setattr("trivium.stages.evaluate.find_spec", lambda _: object())
    single("evaluate", options(tasks=["letters.toml", "lm_eval:letters"])).stages["evaluate"].check()
    with pytest.raises(ConfigError, match="'lm_eval-letters' is there twice"):
        single("evaluate", options(tasks=["lm_eval:letters", "lm_eval:some/letters.yaml"])).stages["evaluate"].check()
    with Run(place / "out", quiet=True, machine=MACHINE) as running:
        tasks = Tasks(running, None, None, 4)
        assert [tasks._asked(name).name for name in ("letters.toml", "lm_eval:letters")] == ["letters", "lm_eval-letters"]


@pytest.mark.parametrize("more", [{"corpus": ["corpus.jsonl"]}, {"limit": 3}])
def test_what_is_about_tasks_needs_tasks(more):
    with pytest.raises(ConfigError, match="corpus and limit are about tasks"):
        single("evaluate", options(tasks=[], prompts="prompts.jsonl", **more)).stages["evaluate"].check()
