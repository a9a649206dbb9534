"""The race: ours gets what the dial gives a user, and who runs can be chosen."""

import pytest

from benchmarks import race
from benchmarks.contest import Contestant
from trivium.nn import scaling
from trivium.stages.machine import Machine
from trivium.stages.pretrain import Pretrain

COMMON = race.SHAPE | {"threads": 1}


def ours(name="trivium", tokens=scaling.SMALL_TOKENS):
    return Contestant(name, ("ours",), race.dialled(COMMON, tokens), True)


@pytest.mark.parametrize(("tokens", "rows"), [(1_126_400, 8), (8e6, 32), (100e6, 256)])
def test_ours_gets_the_batch_and_the_rates_of_the_dial(tokens, rows):
    options = race.dialled(COMMON | {"depth": 6, "width": 384}, tokens)
    assert options["rows"] == rows == scaling.batch_for(tokens, 256) // 256
    assert options["pretrain"]["optimizer"]["embed_lr"] == 0.00816  # 0.01 at a width of 256, by its root
    assert options["pretrain"]["steps"] == round(tokens / options["pretrain"]["batch_tokens"])


def test_it_is_what_a_user_with_that_budget_on_that_machine_gets():
    stage = Pretrain(tokens="@tokenize", depth=4, seq_len=256, time_budget="15m")
    mine, _ = stage.settled(8192, Machine(ceiling=1e11, compile="off", kernels="native").work_within)
    theirs = race.dialled(COMMON, mine.steps * mine.batch_tokens)["pretrain"]
    assert (theirs["batch_tokens"], theirs["optimizer"]["lr"]) == (mine.batch_tokens, mine.optimizer.lr)
    assert theirs["steps"] == mine.steps


def test_a_longer_race_has_a_larger_batch_and_is_timed_at_it(monkeypatch):
    one, peer = ours(), Contestant("peer", ("peer",), COMMON | {"rows": 8})
    timed = []
    monkeypatch.setattr(race, "step_seconds", lambda found, rounds: timed.extend(found) or dict.fromkeys(found, 1.5))
    seconds = {one: 0.5, peer: 1.0}  # 4,096 tokens/s
    fastest = {"trivium": one, "transformers": peer}
    runs = race.lineup(fastest, seconds, 30, ("trivium", "transformers", "half"), rounds=1)
    assert [(length, name) for _, length, name in runs] == [(30, "trivium"), (30, "peer"), (15, "trivium, half the time")]
    assert [run.options["rows"] * 256 for run in timed] == [scaling.batch_for(4096 * 1800, 256), scaling.batch_for(4096 * 900, 256)]
    assert timed == [runs[0][0], runs[2][0]]
    assert runs[1][0] is peer
    assert [seconds[run] for run in timed] == [1.5, 1.5]


def test_only_those_that_were_chosen_are_timed(monkeypatch):
    monkeypatch.setattr(race, "peers", lambda *_, **__: pytest.fail("the peer was not chosen"))
    assert list(race.entrants(COMMON, ("half",), is_quick=True)) == ["trivium"]
    assert list(race.entrants(COMMON, ("trivium", "as-peer"), is_quick=False)) == ["trivium", "as-peer"]


def test_a_contestant_that_there_is_not_is_refused(capsys):
    with pytest.raises(SystemExit):
        race.main(["--contestants", "nobody"])
    assert "invalid choice: 'nobody'" in capsys.readouterr().err
