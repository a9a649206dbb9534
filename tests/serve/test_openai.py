"""The official client talks to the server, over real connections."""

import math

import pytest

from tests.serve.conftest import listening, make_worker, until
from tests.serve.test_connections import held_at
from tests.serve.test_safety import ADDRESS

openai = pytest.importorskip("openai", reason="the openai client is not installed: pip install openai")

MESSAGES = [{"role": "user", "content": "who is king?"}]
CHAT = {"model": "one", "messages": MESSAGES, "max_tokens": 24, "seed": 3}
KEY = "a-key-of-sixteen-or-more"


def client_at(port: int, key: str = "none"):
    return openai.OpenAI(base_url=f"http://{ADDRESS}:{port}/v1", api_key=key, max_retries=0, timeout=20)


@pytest.fixture(scope="module")
def official():
    with listening(make_worker()) as port, client_at(port) as client:
        yield client


def streamed(official, **asked):
    """Text, finish reasons, log-probs and usage of a stream, put together."""
    text, finishes, logprobs, usage = "", [], [], None
    with official.chat.completions.create(**CHAT | asked, stream=True, stream_options={"include_usage": True}) as chunks:
        for chunk in chunks:
            usage = chunk.usage or usage
            for choice in chunk.choices:
                text += choice.delta.content or ""
                finishes += [choice.finish_reason] if choice.finish_reason else []
                logprobs += choice.logprobs.content if choice.logprobs else []
    return text, finishes, logprobs, usage


def test_models_are_listed_and_found(official):
    assert [model.id for model in official.models.list()] == ["one", "two"]
    assert official.models.retrieve("two").id == "two"
    with pytest.raises(openai.NotFoundError, match="none of those that are served"):
        official.models.retrieve("three")


def test_a_chat_streams_what_it_answers_whole(official):
    whole = official.chat.completions.create(**CHAT, logprobs=True, top_logprobs=2)
    [choice] = whole.choices
    text, finishes, logprobs, usage = streamed(official, logprobs=True, top_logprobs=2)
    assert (text, finishes, usage) == (choice.message.content, [choice.finish_reason], whole.usage)
    assert logprobs == choice.logprobs.content


def test_a_chat_goes_on_from_the_message_that_the_client_was_given(official):
    """As OpenAI's own guide has it: the message object, with its null fields, is appended to the chat."""
    said = official.chat.completions.create(**CHAT).choices[0].message
    more = {"role": "user", "content": "and?"}
    plain = {"role": "assistant", "content": said.content}
    texts = {
        official.chat.completions.create(**CHAT | {"messages": [*MESSAGES, message, more]}).choices[0].message.content
        for message in (said, said.model_dump(), plain)
    }
    assert len(texts) == 1


def test_log_probs_are_probabilities_of_what_was_likeliest(official):
    choice = official.chat.completions.create(**CHAT | {"temperature": 0}, logprobs=True, top_logprobs=20).choices[0]
    for entry in choice.logprobs.content:
        likely = [other.logprob for other in entry.top_logprobs]
        assert likely == sorted(likely, reverse=True)
        assert entry.logprob == pytest.approx(likely[0])
        assert sum(map(math.exp, likely)) <= 1 + 1e-5


def test_n_choices_differ_and_a_seed_gives_them_again(official):
    one, again = (official.chat.completions.create(**CHAT, n=4) for _ in range(2))
    texts = [choice.message.content for choice in one.choices]
    assert texts == [choice.message.content for choice in again.choices]
    assert len(set(texts)) > 1
    assert texts != [choice.message.content for choice in official.chat.completions.create(**CHAT | {"seed": 4}, n=4).choices]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_an_answer_ends_before_its_stop_text_wherever_tokens_end(official, size):
    seed, whole = next(
        (seed, text) for seed in range(20)
        if len(text := official.chat.completions.create(**CHAT | {"seed": seed}).choices[0].message.content) > 12
    )  # fmt: skip
    for at in range(0, min(len(whole), 24) - size, 3):
        stop = whole[at : at + size]
        choice = official.chat.completions.create(**CHAT | {"seed": seed}, stop=[stop], logprobs=True).choices[0]
        assert (choice.message.content, choice.finish_reason) == (whole[: whole.index(stop)], "stop")
        assert len("".join(entry.token for entry in choice.logprobs.content[:-1]).replace("\ufffd", "")) <= len(choice.message.content)
        text, finishes, logprobs, _ = streamed(official, seed=seed, stop=stop, logprobs=True)
        assert (text, finishes, logprobs) == (choice.message.content, ["stop"], choice.logprobs.content)


def test_a_text_goes_on(official):
    asked = {"model": "one", "prompt": ["the king", "a user"], "max_tokens": 6, "seed": 1, "logprobs": 2}
    whole = official.completions.create(**asked)
    texts = ["", ""]
    with official.completions.create(**asked, stream=True) as chunks:
        for chunk in chunks:
            for choice in chunk.choices:
                texts[choice.index] += choice.text
    assert texts == [choice.text for choice in whole.choices]
    assert len(whole.choices[0].logprobs.tokens) == len(whole.choices[0].logprobs.token_logprobs)


def test_a_stream_that_is_closed_stops_the_model():
    worker = make_worker()
    go_on, steps = held_at(worker, 6)
    with listening(worker) as port, client_at(port) as client:
        stream = client.chat.completions.create(**CHAT | {"max_tokens": 40, "n": 2}, stream=True)
        next(iter(stream))
        until(lambda: worker.open == 2 and len(steps) == 6)
        requests = [row.request for row in worker._jobs["one"].going.values()]
        stream.close()
        until(lambda: all(request.is_cancelled for request in requests))
        go_on.set()
        until(lambda: worker.open == 0 and not worker._jobs["one"].is_busy)
        assert len(steps) <= 8


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [({"n": 10**6}, "BadRequestError"), ({"temperature": -1}, "BadRequestError"), ({"model": "x"}, "NotFoundError"),
     ({"tools": []}, "BadRequestError"), ({"messages": []}, "BadRequestError")],
)  # fmt: skip
def test_what_is_refused_is_the_clients_own_error(official, wrong, kind):
    with pytest.raises(openai.APIStatusError) as caught:
        official.chat.completions.create(**CHAT | wrong)
    assert (type(caught.value).__name__, caught.value.param) == (kind, next(iter(wrong)))


def test_a_wrong_key_and_too_many_answers_have_errors_of_their_own():
    worker = make_worker(most=2)
    go_on, _ = held_at(worker, 1)
    with listening(worker, key=KEY) as port:
        with client_at(port) as client, pytest.raises(openai.AuthenticationError):
            client.chat.completions.create(**CHAT)
        with client_at(port, KEY) as client:
            with client.chat.completions.create(**CHAT, n=2, stream=True), pytest.raises(openai.RateLimitError) as caught:
                client.chat.completions.create(**CHAT)
            go_on.set()
            until(lambda: worker.open == 0)
            assert int(caught.value.response.headers["retry-after"]) >= 1
            assert client.chat.completions.create(**CHAT).choices
