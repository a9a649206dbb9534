"""A person judges in the terminal: blind, in an order that the seed draws, and the next time from where it was left."""

import json

import pytest

from trivium.core.errors import ConfigError, DataError
from trivium.stages.use.judging import judge
from trivium.stages.use.votes import Votes
from trivium.text.read import read_matches


@pytest.fixture
def files(tmp_path):
    for name in ("one", "two"):
        rows = [{"prompt": f"question {number}", "response": f"{name} says {number}"} for number in range(12)]
        rows.append({"prompt": "same", "response": "both say this"})
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [f"first={tmp_path / 'one.jsonl'}", f"second={tmp_path / 'two.jsonl'}"]


def said(monkeypatch, words):
    left = iter(words)

    def ask(self, *_, **__):
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("rich.console.Console.input", ask)


def test_votes_are_matches_of_what_was_shown_and_no_name_is_seen(files, tmp_path, monkeypatch, capsys):
    said(monkeypatch, ["a", "B", "?", "t", "s", "q"])
    assert judge(files, tmp_path / "votes", seed=1) == f"3 votes in {tmp_path / 'votes/votes.jsonl'}, 9 of 12 pairs are left"
    shown = capsys.readouterr().out
    assert "first" not in shown
    assert "second" not in shown
    matches = list(read_matches(tmp_path / "votes/votes.jsonl"))
    assert [match.score for match in matches] == [1.0, 0.0, 0.5]
    words = {"first": "one", "second": "two"}
    for match in matches:
        assert match.answers == tuple(f"{words[name]} says {match.prompt[0].content.split()[1]}" for name in match.models)
        assert shown.index(match.answers[0]) < shown.index(match.answers[1])


def test_it_goes_on_where_it_was_left_and_asks_nothing_twice(files, tmp_path, monkeypatch):
    for words, left in ((["a"] * 5, 7), (["b"] * 20, 0), (["a"], 0)):
        said(monkeypatch, words)
        assert judge(files, tmp_path / "votes", seed=1).endswith(f"{left} of 12 pairs are left")
        with (tmp_path / "votes/votes.jsonl").open("a") as file:
            file.write('{"prompt": "quest')  # a line that was cut off
    matches = list(Votes(tmp_path / "votes").given())
    assert len({match.prompt for match in matches}) == len(matches) == 12


def test_both_orders_are_drawn_and_the_seed_draws_them_again(files, tmp_path, monkeypatch):
    orders = []
    for seed, folder in ((1, "x"), (1, "y"), (2, "z")):
        said(monkeypatch, ["a"] * 12)
        judge(files, tmp_path / folder, seed=seed)
        orders.append([(match.prompt, match.models) for match in read_matches(tmp_path / folder / "votes.jsonl")])
    assert orders[0] == orders[1] != orders[2]
    assert len({models for _, models in orders[0]}) == 2


def test_what_is_missing_is_said_in_one_line(files, tmp_path):
    (tmp_path / "other.jsonl").write_text('{"prompt": "elsewhere", "response": "x"}\n')
    for given, kind, message in (
        (files[:1], ConfigError, "at least two models"),
        ([str(tmp_path / "one.jsonl"), *files], ConfigError, "as NAME=FILE"),
        ([files[0], files[0]], ConfigError, "as NAME=FILE"),
        ([files[0], f"b={tmp_path / 'other.jsonl'}"], DataError, "no prompt has different answers"),
        ([files[0], f"b={tmp_path / 'nowhere'}"], DataError, "nowhere"),
    ):
        with pytest.raises(kind, match=message):
            judge(given, tmp_path / "votes", seed=1)


def test_the_command_takes_lines_from_a_pipe(files, tmp_path, light):
    ended = light.run(["judge", *files, "--votes", "votes"], tmp_path, said="a\nb\n")
    assert ended.code == 0, ended.err
    assert "2 votes in votes/votes.jsonl, 10 of 12 pairs are left" in ended.out
    assert len(list(read_matches(tmp_path / "votes/votes.jsonl"))) == 2
