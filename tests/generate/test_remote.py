"""Servers elsewhere: what they are asked, and that whatever they do wrong is survived with the same tokens, or said in one line."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from tests.generate.fake_vllm import servers
from tests.nn.io_models import FILES, STOPS, V, ours
from trivium.core.endpoint import Endpoint
from trivium.core.errors import ConfigError, DataError, EngineError
from trivium.generate import samplers as asking
from trivium.generate.engine import Engine
from trivium.generate.remote import VLLM
from trivium.generate.samplers import Answer, Batch, Samplers, Weights
from trivium.generate.sampling import Sampling
from trivium.nn.adapter import fingerprint
from trivium.nn.io.directory import save_model

PROMPTS = [np.array([3 + number, 5, 9], np.int32) for number in range(6)]
BATCH = Batch(PROMPTS, Sampling(max_new_tokens=8), 7, "rollout", 2)
GENERATE = "/inference/v1/generate"


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> list[Weights]:
    """Two versions of a policy."""
    found = []
    for version, scale in enumerate((1.0, 3.0)):
        model, folder = ours("llama"), tmp_path_factory.mktemp("weights") / str(version)
        model.trunk.head.weight.data.mul_(scale)
        save_model(folder, model, **FILES)
        found.append(Weights(version, folder, fingerprint(model)))
    return found


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(asking, "FIRST_PAUSE_S", 0.001)


@pytest.fixture
def fakes(published):
    with servers(published[0].folder, 2, stop_ids=STOPS) as made:
        yield made


def client(url: str, *, timeout_s: float = 5.0, key: str = "", is_in_flight: bool = False, temperature: float = 1.0) -> VLLM:
    return VLLM(Endpoint(url, key, timeout_s), STOPS, 32, "base", is_in_flight, temperature)


def sampled(clients, *versions: Weights, batch: Batch = BATCH, log=lambda _: None, **options):
    """The answers to a batch under the last of these weights."""
    asker = Samplers(clients, stop_ids=STOPS, vocab_size=V, context=64, log=log, **options)
    for weights in versions:
        asker.publish(weights)
    try:
        return asker.submit(batch).result(timeout=60)
    finally:
        asker.close()


def told(answers):
    return [(answer.tokens.tolist(), answer.columns["old_logprobs"].tolist(), answer.meta) for answer in answers]


def test_tokens_log_probs_and_versions_come_back_as_the_engine_gives_them(fakes, published):
    answers = sampled([client(fakes[0].url)], *published)
    engine = Engine(fakes[0].engine.model, stop_ids=STOPS, kernels="torch")
    for number, (prompt, answer) in enumerate(zip(PROMPTS, answers, strict=True)):
        [asked] = [body for path, body in fakes[0].calls if path == GENERATE and body["token_ids"] == prompt.tolist()]
        [expected] = engine.generate([prompt], BATCH.sampling, seed=asked["sampling_params"]["seed"])
        assert told([answer]) == told([expected]), number
        assert answer.columns["policy_step"].tolist() == expected.loss_mask.tolist()  # version 1
    assert {path for path, _ in fakes[0].calls} >= {
        "/pause?mode=wait",
        "/collective_rpc",
        "/update_weight_version",
        "/weight_info",
        "/resume",
    }
    assert not fakes[0].is_paused


def test_the_cache_of_a_server_is_salted_with_the_weights(fakes, published):
    asker = Samplers([client(fakes[0].url)], stop_ids=STOPS, vocab_size=V, context=64)
    salts = []
    for weights in published:
        asker.publish(weights)
        asker.submit(BATCH).result(timeout=60)
        salts.append(
            {body["cache_salt"] for path, body in fakes[0].calls if path == GENERATE}
            - {weights.label for weights in published[: weights.version]}
        )
    asker.close()
    assert salts == [{published[0].label}, {published[1].label}]


def test_a_server_without_the_newer_call_is_asked_for_completions(published):
    with servers(published[0].folder, stop_ids=STOPS, paths=("/v1/completions", "/v1/models", "/collective_rpc")) as [old]:
        asked = client(old.url)
        answers = sampled([asked], published[0])
        assert "has no /update_weight_version nor /weight_info: whether it took new weights is seen by its log-probs alone" in asked.caution
        assert old.count("/v1/completions") == len(PROMPTS)
        assert old.count("/pause") == old.count("/weight_info") == 0
    with servers(published[0].folder, stop_ids=STOPS) as [new]:
        asked = client(new.url)
        assert told(sampled([asked], published[0])) == told(answers)
        assert asked.caution == ""


def spoilt(path: str, change):
    """The first reply of the path is changed."""
    return lambda fake: fake.spoil.__setitem__(path, lambda number, reply: change(reply) if number == 1 else reply)


def with_choice(**fields):
    return lambda reply: {**reply, "choices": [{**reply["choices"][0], **fields}]}


def late(reply):
    time.sleep(0.5)
    return reply


FAULTS = {
    "no connection": lambda fake: fake.stop(),
    "an answer of status 500": spoilt(GENERATE, lambda _: 500),
    "a connection that is closed without an answer": spoilt(GENERATE, lambda _: None),
    "two answers": spoilt(GENERATE, lambda reply: {**reply, "choices": reply["choices"] * 2}),
    "an answer that is late": spoilt(GENERATE, late),
    "an answer to another request": spoilt(GENERATE, lambda reply: {**reply, "request_id": "generate-tokens-0-other"}),
    "a token too few": spoilt(GENERATE, lambda reply: with_choice(token_ids=reply["choices"][0]["token_ids"][:-1])(reply)),
    "more tokens than asked for": spoilt(GENERATE, with_choice(
        token_ids=[3] * 9, logprobs={"content": [{"logprob": -1.0}] * 9}, finish_reason="length", weight_versions=None)),
    "log-probs that are not finite": spoilt(GENERATE, lambda reply: with_choice(
        logprobs={"content": [{"logprob": float("nan")}] * len(reply["choices"][0]["token_ids"])})(reply)),
    "an aborted answer": spoilt(GENERATE, with_choice(finish_reason="abort")),
    "tokens of older weights": spoilt(GENERATE, with_choice(weight_versions=[{"version": "0-other", "start": 0, "end": 8}])),
    "weights that are not taken": spoilt("/collective_rpc", lambda _: 500),
    "weights that are taken by halves": spoilt("/update_weight_version", lambda _: None),
    "weights under another name": spoilt("/weight_info", lambda _: {"weight_version": "default"}),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_of_one_server_is_survived_with_the_same_tokens(fault, fakes, published):
    expected = sampled([client(fakes[1].url)], published[0])
    clients = [client(fake.url, timeout_s=0.3) for fake in fakes]
    for each in clients:
        each.look()
    for fake in fakes:
        fake.calls.clear()
    fault(fakes[0])
    assert told(sampled(clients, published[0])) == told(expected)


def test_a_lost_server_is_said_and_comes_back_with_the_next_weights(fakes, published):
    lines, clients = [], [client(fake.url) for fake in fakes]
    asker = Samplers(clients, stop_ids=STOPS, vocab_size=V, context=64, log=lines.append)
    fakes[0].spoil["/collective_rpc"] = lambda number, reply: 500 if number == 1 else reply
    asker.publish(published[0])
    asker.submit(BATCH).result(timeout=60)
    assert fakes[0].count(GENERATE) == 0
    asker.publish(published[1])
    asker.submit(BATCH).result(timeout=60)
    asker.close()
    assert fakes[0].count(GENERATE) == len(PROMPTS) / 2
    assert [line.split(" weights")[0] for line in lines] == [
        f"the sampler {fakes[0].url} does not take", f"the sampler {fakes[0].url} is back, with"
    ]  # fmt: skip


def test_where_no_server_is_left_the_reason_is_said(fakes, published):
    clients = [client(fake.url) for fake in fakes]
    for each in clients:
        each.look()
    fakes[0].stop()
    fakes[1].spoil[GENERATE] = lambda *_: 503
    with pytest.raises(EngineError, match=r"6 of 6 answers are missing after 5 attempts: .*ConnectionRefused.*answered 503"):
        sampled(clients, published[0])


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        (("/v1/models",), "has neither"), (("/v1/models", GENERATE), "has no /collective_rpc"),
        (("/v1/models", GENERATE, "/collective_rpc"), "which in_flight needs"),
    ],
)  # fmt: skip
def test_what_a_server_lacks_is_said_with_the_line_that_starts_it(paths, said, published):
    with servers(published[0].folder, stop_ids=STOPS, paths=paths) as [fake], pytest.raises(ConfigError, match=said) as told:
        client(fake.url, is_in_flight=True).look()
    assert "VLLM_SERVER_DEV_MODE=1 vllm serve base --host 127.0.0.1" in str(told.value)


def test_a_server_that_reads_too_little_or_wants_a_key_is_refused(published):
    with servers(published[0].folder, stop_ids=STOPS, context=16, api_key="secret") as [fake]:
        with pytest.raises(ConfigError, match="key_env names the variable"):
            client(fake.url).look()
        with pytest.raises(ConfigError, match="reads 16 tokens, but a prompt with its answer may have 32"):
            client(fake.url, key="secret").look()


def test_log_probs_of_before_the_temperature_are_refused_where_there_is_one(fakes):
    fakes[0].logprobs_mode = "raw_logprobs"
    client(fakes[0].url).look()
    with pytest.raises(ConfigError, match="gives raw_logprobs, those before the temperature, which is 0.6"):
        client(fakes[0].url, temperature=0.6).look()


def test_a_prompt_without_room_is_refused(fakes, published):
    with pytest.raises(DataError, match="prompt 0 has 64 tokens"):
        sampled([client(fakes[0].url)], published[0], batch=replace(BATCH, prompts=[np.full(64, 5, np.int32)]))


class Told:
    """A server that does what the test says."""

    name = "told"

    def __init__(self, *answers):
        self.answers = list(answers)

    def load(self, weights, *, is_in_flight): ...

    def close(self): ...

    def sample(self, batch, numbers):
        return [self.answers.pop(0)] * len(numbers)


END, WORD = STOPS[0], V - 1
GOOD = Answer([WORD, END], [-1.0, -0.5], [0, 0], "stop")
ONE = replace(BATCH, prompts=PROMPTS[:1], sampling=Sampling(max_new_tokens=3))
BAD = {
    "an answer has 0 tokens": Answer([], [], [], "stop"),
    "an answer has 4 tokens": Answer([WORD] * 4, [-1.0] * 4, [0] * 4, "length"),
    "has 1 log-probs": replace(GOOD, logprobs=[-1.0]),
    "not finite, or above 0": replace(GOOD, logprobs=[-1.0, 0.5]),
    "the vocabulary of": replace(GOOD, tokens=[V, END]),
    "where 0 to 0 are expected": replace(GOOD, versions=[0, 1]),
    "ends as 'length'": replace(GOOD, finish="length"),
    "ends as 'stop'": replace(GOOD, tokens=[WORD, WORD]),
    "of 3 tokens ends as 'stop'": Answer([WORD, END, END], [-1.0] * 3, [0] * 3, "stop"),
}


@pytest.mark.parametrize(("said", "answer"), BAD.items(), ids=BAD.keys())
def test_an_answer_that_cannot_be_is_asked_for_again(said, answer, published):
    lines = []
    assert sampled([Told(answer, GOOD)], published[0], batch=ONE, log=lines.append)[0].response.tolist() == [WORD, END]
    assert said in lines[0]


def test_in_flight_a_server_that_another_batch_loses_meanwhile_is_no_defect(published):
    """It is lost between the look at who is there and the question which weights it has."""
    asker = Samplers([Told(GOOD)], stop_ids=STOPS, vocab_size=V, context=64, is_in_flight=True, ahead=1)
    asker.publish(published[0])

    class Held(dict):
        def __contains__(self, name):
            found = super().__contains__(name)
            self.clear()
            return found

    asker._loading.result(timeout=10)
    asker._held = Held(asker._held)
    assert asker.submit(ONE).result(timeout=10)[0].response.tolist() == [WORD, END]
    asker.close()


def test_in_flight_what_was_under_way_while_weights_were_taken_by_halves_is_asked_again(published):
    """It went on under half of the new ones, and bears the name of the old ones."""
    began, torn = threading.Event(), threading.Event()

    class Torn(Told):
        def load(self, weights, *, is_in_flight):
            if weights.version and not torn.is_set():
                torn.set()
                time.sleep(0.05)  # what was under way comes back before it is known
                raise EngineError("reads a half")

        def sample(self, batch, numbers):
            if torn.is_set():
                return [replace(GOOD, versions=[1, 1])] * len(numbers)
            began.set()
            assert torn.wait(timeout=10)
            return [Answer([WORD, WORD, END], [-1.0] * 3, [0] * 3, "stop")] * len(numbers)

    asker = Samplers([Torn()], stop_ids=STOPS, vocab_size=V, context=64, is_in_flight=True, ahead=1)
    asker.publish(published[0])
    asked = asker.submit(ONE)
    assert began.wait(timeout=10)
    asker.publish(published[1])
    [answer] = asked.result(timeout=10)
    asker.close()
    assert answer.response.tolist() == [WORD, END]
    assert answer.columns["policy_step"][answer.loss_mask > 0].tolist() == [1, 1]


def test_in_flight_an_answer_may_begin_under_older_weights(published):
    mixed = replace(GOOD, versions=[0, 1])
    asker = Samplers([Told(GOOD, mixed)], stop_ids=STOPS, vocab_size=V, context=64, is_in_flight=True, ahead=1)
    asker.publish(published[0])
    asker.submit(ONE).result(timeout=10)
    asker._current = published[1]  # its load is under way, so the server is held to have the older ones
    [answer] = asker.submit(ONE).result(timeout=10)
    asker.close()
    assert answer.columns["policy_step"][answer.loss_mask > 0].tolist() == [0, 1]


def test_in_flight_a_batch_waits_for_what_was_published_before_it(published):
    """Else a server that is slow to take weights would answer it with those before, and the lag would have no bound."""
    may_load, loaded = threading.Event(), []

    class Slow(Told):
        def load(self, weights, *, is_in_flight):
            assert weights.version == 0 or may_load.wait(timeout=10)
            loaded.append(weights.version)

        def sample(self, batch, numbers):
            self.answers = [replace(GOOD, versions=[loaded[-1]] * 2)]
            return super().sample(batch, numbers)

    asker = Samplers([Slow()], stop_ids=STOPS, vocab_size=V, context=64, is_in_flight=True, ahead=1)
    asker.publish(published[0])
    asker.submit(ONE).result(timeout=10)
    asker.publish(published[1])
    asked = asker.submit(ONE)
    time.sleep(0.05)
    assert not asked.done()
    may_load.set()
    [answer] = asked.result(timeout=10)
    asker.close()
    assert answer.columns["policy_step"][answer.loss_mask > 0].tolist() == [1, 1]
