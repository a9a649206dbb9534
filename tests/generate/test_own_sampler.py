"""Our sampler's process as seen by the one who asks, with programs in its place that need no torch: one that hangs, and slow ones."""

import os
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from trivium.core import pulse
from trivium.core.errors import EngineError
from trivium.generate import own_sampler
from trivium.generate.own_sampler import OwnSampler
from trivium.generate.samplers import Batch, Samplers, Weights
from trivium.generate.sampling import Sampling

FAKE = """
import json, os, sys, time

def say(reply):
    sys.stdout.write(json.dumps(reply) + "\\n")
    sys.stdout.flush()

def works(seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sum(range(1000))

def speaks(seconds):
    for _ in range(10):
        time.sleep(seconds / 10)
        say({"number": None})

sys.stdin.readline()
for line in sys.stdin:
    asked = json.loads(line)
    if asked["what"] == "load":
        say({"number": asked["number"], "checksum": asked["checksum"].removeprefix("half of ")})
        continue
    BEFORE
    answers = [{"tokens": [5, 1], "logprobs": [-1.0, -1.0], "versions": [0, 0], "finish": "stop"} for _ in asked["prompts"]]
    say({"number": asked["number"], "answers": answers})
"""
BATCH = Batch([np.array([3, 4])] * 2, Sampling(max_new_tokens=4), 1, "rollout", 0)
WEIGHTS = Weights(0, Path("weights"), "abc")


@pytest.fixture
def sampler(monkeypatch):
    """What makes one whose program does this before it answers a batch."""
    made = []
    monkeypatch.setattr(pulse, "IDLE_S", 0.4)
    monkeypatch.setattr(own_sampler, "LOOK_EVERY_S", 0.05)

    def make(before: str) -> OwnSampler:
        monkeypatch.setattr(own_sampler, "_PROGRAM", FAKE.replace("BEFORE", before))
        made.append(OwnSampler({}))
        made[-1].load(WEIGHTS, is_in_flight=False)
        return made[-1]

    yield make
    for one in made:
        one.close()


linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is not told whether a process works")


@linux
def test_one_that_hangs_is_ended_and_the_reason_said(sampler):
    hung = sampler("time.sleep(1e6)")
    with pytest.raises(EngineError, match="it hangs: for [0-9]+ s it neither said nor computed anything"):
        hung.sample(BATCH, [0, 1])
    assert hung._process.poll() == -signal.SIGKILL


@linux
def test_one_that_was_stopped_and_reads_nothing_is_ended_though_what_it_is_asked_does_not_fit_the_pipe(sampler):
    stopped = sampler("pass")
    os.kill(stopped.process_id, signal.SIGSTOP)
    with pytest.raises(EngineError, match="it hangs"):
        stopped.sample(Batch([np.zeros(100_000, np.int32)], BATCH.sampling, 1, "rollout", 0), [0])


@pytest.mark.parametrize("before", ["works(1)", "speaks(1)"])
def test_a_slow_one_that_computes_or_says_that_it_goes_on_is_waited_for(sampler, before):
    assert [answer.tokens for answer in sampler(before).sample(BATCH, [0, 1])] == [[5, 1], [5, 1]]


def test_one_that_computes_without_an_end_is_ended_by_what_was_its_longest_silence(sampler, monkeypatch):
    monkeypatch.setattr(pulse, "LEAST_S", 0.5)
    with pytest.raises(EngineError, match="s it said nothing, where [0-9]+ s was its longest silence so far"):
        sampler("works(1e6)").sample(BATCH, [0, 1])


@linux
def test_a_batch_that_hung_is_asked_again_of_a_process_that_is_started_anew(sampler, tmp_path, monkeypatch):
    monkeypatch.setattr("trivium.generate.samplers.FIRST_PAUSE_S", 0.0)
    said, flag = [], tmp_path / "was here"
    once = sampler(f"os.path.exists({str(flag)!r}) or (open({str(flag)!r}, 'w').close(), time.sleep(1e6))")
    samplers = Samplers([once], stop_ids=[1], vocab_size=9, context=8, log=said.append)
    samplers.publish(WEIGHTS)
    found = samplers.submit(BATCH).result(20)
    samplers.close()
    assert [example.response.tolist() for example in found] == [[5, 1], [5, 1]]
    assert [line.split(":")[0] for line in said] == [
        "the sampler in the other process gives no answer that can be used",
        "the sampler in the other process is back, with weights 0-abc",
    ]


def test_weights_that_were_read_by_halves_are_not_taken(sampler):
    with pytest.raises(EngineError, match="it read weights with the checksum abc, not half of abc"):
        sampler("pass").load(Weights(1, Path("weights"), "half of abc"), is_in_flight=False)


def test_what_is_answered_twice_or_was_never_asked_is_no_answer_to_anything_else(sampler):
    wrong = '[{"tokens": [9], "logprobs": [0.0], "versions": [7], "finish": "stop"}]'
    talks = sampler(f"say({{'number': asked['number'] - 1, 'answers': {wrong}}}); say({{'number': 99, 'answers': {wrong}}})")
    for _ in range(3):
        assert [answer.tokens for answer in talks.sample(BATCH, [0, 1])] == [[5, 1], [5, 1]]


def test_one_that_is_given_up_leaves_no_thread(sampler):
    before = threading.active_count()
    sampler("pass").close()
    for thread in threading.enumerate():
        if "sampler" in thread.name:
            thread.join(5)
    assert threading.active_count() <= before
