"""The comparison with lm-eval: what counts as agreement, and our tasks as lm-eval's."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks.contest import PEERS, Contestant, Score
from benchmarks.evaluate import agreement, best_batches, farthest, references, total, verdict
from benchmarks.lm_eval_tasks import as_lm_eval
from trivium.core.errors import ResourceError
from trivium.evals.task import NamedTask

ROWS = [{"question": word, "choices": ["x", "y"], "gold": 1} for word in ("king", "land")]


def task(folder: Path, scoring: str) -> NamedTask:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (folder / "mine.toml").write_text(f'data = "rows.jsonl"\nprompt = "Q: {{{{question}}}}"\n[scoring]\n{scoring}')
    return NamedTask.read(str(folder / "mine.toml"))


def test_choices_agree_if_the_likeliest_is_the_same(tmp_path):
    named = task(tmp_path, 'kind = "choices"\n')
    ours, theirs = [[-1.0, -2.0], [-3.0, -2.9]], [[[-1.001, False], [-2.0, False]], [[-2.9, False], [-3.0, False]]]
    same, lines = agreement(named, named.items(), ours, theirs)
    assert same == 1
    assert lines == ["mine item 1: ours [-3.0, -2.9], theirs [-2.9, -3.0]"]
    assert farthest(ours, theirs) == pytest.approx(0.1)


def test_a_tie_that_falls_otherwise_is_said_to_be_one(tmp_path):
    named = task(tmp_path, 'kind = "choices"\n')
    _, lines = agreement(named, named.items(), [[-1.0, -1.0001], [0.0, -9.0]], [[[-1.0001, False], [-1.0, False]], [[0.0, 0], [-9.0, 0]]])
    assert lines == ["mine item 0: ours [-1.0, -1.0001], theirs [-1.0001, -1.0]; a tie but for the order of sums: 1e-04 nats apart"]


def test_a_single_log_prob_agrees_if_it_is_close_and_greedy_on_both_sides_and_an_answer_if_it_is_the_same_text(tmp_path):
    named = task(tmp_path, 'kind = "continuation"\ntarget = "x"\n')
    mine = [[[-1.0, True]], [[-1.0, True]]]
    assert agreement(named, named.items(), mine, [[[-1.0001, True]], [[-1.1, True]]])[0] == 1
    assert agreement(named, named.items(), mine, [[[-1.0, True]], [[-1.0, False]]])[0] == 1
    assert farthest(mine, [[[-1.0001, True]], [[-1.1, True]]]) == pytest.approx(0.1)
    named = task(tmp_path, 'kind = "answer"\n')
    same, lines = agreement(named, named.items(), [["a b"], ["the king"]], [[" a b"], ["the kind"]])
    assert (same, lines) == (1, ["mine item 1: the same 7 characters, then ours 'the king', theirs 'the kind'"])
    assert farthest([["a"]], [["a"]]) is None


def test_tasks_become_lm_evals_with_the_very_same_text(tmp_path):
    named = task(tmp_path, 'kind = "choices"\n')
    config = as_lm_eval(named, named.items(), tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "mine.jsonl").read_text().splitlines()]
    assert rows[0] == {"context": "Q: king", "choices": [" x", " y"], "gold": 1}
    assert (config["doc_to_text"], config["doc_to_choice"], config["target_delimiter"]) == ("context", "choices", "")


def test_data_is_found_below_the_folder_or_the_task_is_refused(tmp_path):
    (tmp_path / "mc").mkdir()
    (tmp_path / "mc" / "arc_easy_test.jsonl").write_text("{}")
    assert references(tmp_path, ["piqa", "arc_easy"]) == ["piqa", f"arc_easy:{tmp_path / 'mc' / 'arc_easy_test.jsonl'}"]
    assert len(references(None, [])) == 8
    with pytest.raises(ResourceError, match="hellaswag: its data is in no package"):
        references(None, ["hellaswag"])


def test_all_tasks_together_are_items_over_the_sum_of_times():
    def score(name, seconds, is_ours=False):
        return Score(Contestant(name, (), {}, is_ours), answers={task: [{"seconds": [each]}] for task, each in seconds.items()})

    work = total([score("ours", {"a": 1.0, "b": 2.0}, True), score("theirs", {"a": 4.0, "b": 5.0})], {"a": 10, "b": 20})
    assert [(line.name, line.value) for line in work.lines] == [("ours", 10.0), ("theirs", pytest.approx(30 / 9))]
    assert work.ratio == pytest.approx(3.0)


PEER = """
import sys; sys.path.insert(0, sys.argv.pop(1))
from rounds import Rounds, options
now = 0.0
rounds = Rounds(clock=lambda: now)
while True:
    request = rounds.tick()
    now += abs(request["batch"] - request["best"]) + request["items"]
"""


def test_the_peer_gets_the_batch_in_which_it_is_fastest_at_each_task():
    peer = Contestant("peer", (sys.executable, "-S", "-c", PEER, str(PEERS)), {})
    works = {"a": {"items": 64, "best": 8}, "b": {"items": 4, "best": 33}}
    best, foreseen = best_batches(peer, works, (1, 8, 32))
    assert best == {"a": 8, "b": 32}
    assert foreseen == pytest.approx(64 + 5)


@pytest.mark.parametrize(
    ("tasks", "wrong", "ratio", "is_enough"), [(9, 1, 2.0, True), (8, 1, 9.0, False), (8, 0, 1.9, False), (2, 0, 2.5, True)]
)
def test_the_verdict_asks_for_eight_tasks_and_twice_the_speed(tasks, wrong, ratio, is_enough):
    facts = {str(number): {"peer": {"items": 10, "agree": 10 - (number < wrong)}} for number in range(tasks)}
    line, found = verdict(facts, {str(number): 1.0 + number for number in range(tasks)}, ratio)
    assert found is is_enough
    assert f"{tasks - wrong} of {tasks} tasks agree to the item ({10 * tasks - wrong} of {10 * tasks} items)" in line
    assert f"from 1.00 (0) to {float(tasks):.2f} ({tasks - 1})" in line
    assert verdict({}, {}, None)[1] is False
