"""A person as the judge of `evaluate`: the same records as a model's, no name on the screen, and nothing asked twice."""

import json
import re
from itertools import groupby
from pathlib import Path

import pytest

from tests.score.chat_server import says, serving
from tests.stages.test_tasks import WORDS, options, place
from trivium.core.errors import ConfigError, DataError
from trivium.core.interrupt import Interrupted
from trivium.evals import task as tasks
from trivium.score.rewards import LLMJudge
from trivium.stages.pipeline import execute
from trivium.stages.recipe import single
from trivium.stages.use.person import FILE, Human, Terminal

__all__ = ["place"]  # a fixture for every test here
GRADE, OPINION = "5", "express an opinion"


@pytest.fixture
def card() -> str:
    text = (Path(tasks.__file__).parent / "tasks/instructgpt.toml").read_text().replace("max_new_tokens = 256", "max_new_tokens = 6")
    Path("card.toml").write_text(f'data = "p.jsonl"\n{text}')
    Path("p.jsonl").write_text("".join(json.dumps({"prompt": word}) + "\n" for word in WORDS[:3]))
    return "card.toml"


def sits(monkeypatch, patience: int = 1000, *, typing: tuple[str, ...] = ()) -> list[str]:
    """Somebody who answers so many questions and then leaves; what they were asked. typing: what comes before the answers."""
    asked, first = [], list(typing)

    def answer(self, question, **_):
        if len(asked) == patience:
            raise EOFError
        asked.append(question)
        if first:
            return first.pop(0)
        return GRADE if "1 to 7" in question else "t" if "which is better" in question else "Y" if OPINION in question else "no"

    monkeypatch.setattr("rich.console.Console.input", answer)
    return asked


def judged(folder: str, judge: object, task: str, **more: object) -> None:
    execute(single("evaluate", options(tasks=[task], judge=judge, **more)), Path(folder), quiet=True)


def items(folder: str) -> list[bytes]:
    return [(Path(folder) / f"evaluate/items/{model}/card.jsonl").read_bytes() for model in ("base", "other")]


def results(folder: str) -> list[dict]:
    return [{**row, "seconds": 0} for row in json.loads((Path(folder) / "results.json").read_text())]


def test_the_card_of_a_person_has_the_records_of_a_models(card, monkeypatch, capsys):
    def model(handler, text):
        nonce = re.search(r"VERDICT (\w+) VALUE", text)[1]
        value = GRADE if "1 (worst) to 7" in text else "TIE" if "ANSWER B" in text else "yes" if OPINION in text else "no"
        says(f"VERDICT {nonce} {value}")(handler, text)

    with serving(model) as (url, _):
        judged("model", {"url": url, "model": "m"}, card)
    capsys.readouterr()
    asked = sits(monkeypatch, typing=("8", "fine"))
    judged("person", "human", card)
    assert items("person") == items("model")
    assert results("person") == results("model")
    shown = capsys.readouterr().out
    assert shown.count("one of these, please") == 2  # a grade of 8, and a word
    assert "card: 1 of 6" in shown
    rows = [[json.loads(line) for line in each.splitlines()] for each in items("person")]
    said = {(row["item"], text) for each in rows for row in each for text in row["responses"]}
    pairs = sum(a["responses"] != b["responses"] for a, b in zip(*rows, strict=True))
    assert len(asked) == 2 + 12 * len(said) + pairs
    assert pairs > 0
    assert not re.search(r"\b(base|other|model)\b", shown)


def test_models_take_turns_so_that_none_is_known_by_its_place(card, monkeypatch):
    Path("p.jsonl").write_text("".join(json.dumps({"prompt": word}) + "\n" for word in WORDS))
    sits(monkeypatch)
    judged("out", "human", card)
    rows = [[json.loads(line)["responses"][0] for line in each.splitlines()] for each in items("out")]
    verdicts = [json.loads(line) for line in (Path("out") / FILE).read_text().splitlines()]
    graded = [(each["prompt"][0]["content"], each["responses"][0]) for each in verdicts if len(each["allowed"]) == 7]
    prompts = [prompt for prompt, _ in graded]
    assert sorted(set(prompts), key=prompts.index) == [prompt for prompt, _ in groupby(prompts)]  # both answers to a prompt together
    first = dict(reversed(graded))
    places = [(a, b).index(first[word]) for word, a, b in zip(WORDS, *rows, strict=True) if a != b]
    assert set(places) == {0, 1}


def test_who_leaves_goes_on_where_they_were_and_with_other_options_too(card, monkeypatch):
    straight = sits(monkeypatch)
    judged("straight", "human", card)
    asked: list[str] = []
    for patience in (0, 15, 1000):
        now = sits(monkeypatch, patience)
        if patience < 1000:
            with pytest.raises(Interrupted, match="stopped by the judge .*; what was complete is kept") as stopped:
                judged("out", "human", card)
            assert stopped.value.exit_code == 130
            with (Path("out") / FILE).open("a") as file:
                file.write('{"prompt": [{"role')  # a line that was cut off
            assert not Path("out/results.json").exists()
        else:
            judged("out", "human", card)
        asked += now
    assert asked == straight
    assert items("out") == items("straight")
    assert (Path("out") / FILE).read_bytes() == (Path("straight") / FILE).read_bytes()
    again = sits(monkeypatch, 0)
    judged("out", "human", card, limit=2)
    assert not again


def test_a_person_compares_answers_to_prompts_once_each_and_before_anything_is_told_of_them(monkeypatch, capsys):
    Path("p.jsonl").write_text("".join(json.dumps({"prompt": word}) + "\n" for word in WORDS))
    more = {"tasks": [], "prompts": "p.jsonl", "sampling": {"max_new_tokens": 6, "temperature": 0}, "judge": "human"}
    told: list[str] = []

    def answer(self, *_, **__):
        told.append(Path("out/log.txt").read_text())
        return "t"

    monkeypatch.setattr("rich.console.Console.input", answer)
    execute(single("evaluate", options(**more)), Path("out"), quiet=True)
    assert 0 < len(told) <= 8
    assert not any("response_words" in each for each in told)
    assert "response_words" in Path("out/log.txt").read_text()
    assert "pair 1 of 8" in capsys.readouterr().out
    again = sits(monkeypatch, 0)
    execute(single("evaluate", options(**more, seed=2)), Path("out"), quiet=True)  # which draws other orders
    assert not again
    table = {(row["stage"], row["measure"]): row["value"] for row in results("out")}
    assert table["other", "judge_win_rate"] == 0.5


def test_a_judge_without_a_kind_is_a_model_and_what_is_wrong_is_one_line(card):
    def judge(given: object) -> object:
        return single("evaluate", options(tasks=[card], judge=given)).stages["evaluate"].judge

    assert judge({"url": "http://localhost:1/v1", "model": "m"}) == LLMJudge(url="http://localhost:1/v1", model="m")
    assert judge("human") == judge({"kind": "human"}) == Human()
    for given, message in (
        ({"url": "http://localhost:1/v1", "modle": "m"}, "judge.modle'; did you mean '.*judge.model'"),
        ({"url": "http://localhost:1/v1"}, "judge.model' is missing"),
        ("nobody", "judge' is 'nobody'; its kind is one of: 'llm_judge', 'human'"),
        ({"kind": "human", "url": "x"}, "unknown option '.*judge.url'"),
    ):
        with pytest.raises(ConfigError, match=message):
            judge(given)


VERDICT = {"prompt": [{"role": "user", "content": "king"}], "responses": ["sea"], "asked": "good", "allowed": ["yes", "no"], "said": "no"}


@pytest.mark.parametrize("wrong", [{"responses": [["sea"]]}, {"said": "maybe"}, {"said": None}, {"prompt": "king"}, {"allowed": 1}])
def test_a_line_that_is_no_verdict_is_named(wrong, tmp_path):
    path = tmp_path / FILE
    path.write_text(json.dumps(VERDICT) + "\n")
    Human().open(tmp_path, 1)
    path.write_text(json.dumps(VERDICT) + "\n" + json.dumps(VERDICT | wrong) + "\n")
    with pytest.raises(DataError, match=f"{path} line 2: is no verdict"):
        Human().open(tmp_path, 1)


def test_an_answer_is_shown_as_it_is_and_bytes_that_are_no_text_are_asked_for_again(monkeypatch, capsys):
    typed = iter([b"\xff", b"a"])
    monkeypatch.setattr("rich.console.Console.input", lambda *_, **__: next(typed).decode())
    terminal = Terminal()
    terminal.show((), ["x[:100:] :heart: [bold]"], head="1 of 1")
    assert terminal.ask("which? ", "ab") == "a"
    assert "x[:100:] :heart: [bold]\none of these, please" in capsys.readouterr().out
