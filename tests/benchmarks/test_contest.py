import sys

from benchmarks.contest import PEERS, Contestant, Talk, able, one_by_one, take_turns

STEADY = """
import sys; sys.path.insert(0, sys.argv.pop(1))
from rounds import Rounds, options
name, log = options()["name"], open(options()["log"], "a", buffering=1)
rounds = Rounds(versions={name: "1"})
print("a library that prints")
while True:
    request = rounds.tick()
    print(name, request["steps"], file=log)
    rounds.facts = {"asked": request["steps"]}
"""


def contestant(name, log, script=STEADY):
    return Contestant(name, (sys.executable, "-S", "-c", script, str(PEERS)), {"name": name, "log": str(log)})


def test_contestants_take_turns_and_every_other_round_goes_backwards(tmp_path):
    log = tmp_path / "log"
    take_turns([contestant("a", log), contestant("b", log)], {"steps": {"steps": 1}}, rounds=2)
    assert [line[0] for line in log.read_text().splitlines()] == list("abbaab")


def test_the_round_that_does_not_count_may_be_shorter(tmp_path):
    log = tmp_path / "log"
    [score] = take_turns([contestant("a", log)], {"steps": {"steps": 2}}, rounds=1, warm_up={"steps": 1})
    assert log.read_text().split() == ["a", "1", "a", "2", "a", "2"]
    assert [answer["asked"] for answer in score.answers["steps"]] == [2]


def test_a_request_gives_the_seconds_of_each_of_its_steps(tmp_path):
    [score] = take_turns([contestant("a", tmp_path / "log")], {"steps": {"steps": 3}}, rounds=2)
    assert [len(answer["seconds"]) for answer in score.answers["steps"]] == [3, 3]  # the warm-up is not among them
    assert score.versions == {"a": "1"}


def test_on_a_device_that_works_behind_every_step_of_a_request_has_the_mean_time(tmp_path):
    script = STEADY.replace("Rounds(", "Rounds(wait=lambda: print('waited', file=log), ")
    with Talk(contestant("a", tmp_path / "log", script)) as talk:
        [first, *others] = talk.ask(steps=3)["seconds"]
    assert others == [first] * 2
    assert (tmp_path / "log").read_text().splitlines() == ["a 3", "a 3", "a 3", "waited"]


def test_one_by_one_nobody_starts_before_the_last_has_ended(tmp_path):
    log = tmp_path / "log"
    one_by_one([contestant("a", log), contestant("b", log)], {"steps": {"steps": 1}}, rounds=2)
    assert [line[0] for line in log.read_text().splitlines()] == list("aaabbb")


def test_what_a_contestant_says_besides_travels_with_its_answer(tmp_path):
    with Talk(contestant("a", tmp_path / "log")) as talk:
        assert talk.ask(steps=2)["asked"] == 2


def test_who_fails_is_out_with_the_last_line_it_said(tmp_path):
    broken = contestant("b", tmp_path / "log", "raise ImportError('no such library')")
    good, bad = take_turns([contestant("a", tmp_path / "log"), broken], {"steps": {"steps": 1}}, rounds=1)
    assert len(good.answers["steps"]) == 1
    assert bad.failed == "ImportError: no such library"


def test_who_multiplies_in_a_hopeless_precision_is_left_out_aloud(capsys):
    full, half = Contestant("full", (), {"precision": "float32"}), Contestant("half", (), {"precision": "bfloat16"})
    whole = Contestant("whole", (), {"precision": "float32", "products": "int8"})
    assert able((full, half, whole), {"bfloat16": 40.0}) == [full, whole]
    assert capsys.readouterr().out == "half: left out, products in bfloat16 are 40 times slower than in float32 here\n"
    assert able((full, half, whole), {"int8": 12.0}) == [full, half]
