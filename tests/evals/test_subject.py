"""How likely texts are: the same as one sequence at a time by hand, whatever is shared and however it is batched."""

import numpy as np
import pytest
import torch

from tests.nn.io_models import STOPS, TOKENIZER, logits, ours
from tests.nn.tiny import tiny_model
from trivium.core.errors import ConfigError
from trivium.core.types import example
from trivium.evals import subject as module
from trivium.evals.scoring import Request
from trivium.evals.subject import Subject, batches, cut_at, leading_ids
from trivium.generate.engine import Engine
from trivium.generate.sampling import Sampling
from trivium.nn.model import Model
from trivium.nn.native.block import use
from trivium.nn.native.library import why_not
from trivium.text.tokenizer import Tokenizer

FIRST = 0
CONTEXT = "the king of the land said that"
REQUESTS = [
    Request(CONTEXT, " the people"), Request(CONTEXT, " ships"), Request(f"{CONTEXT} ", "hello"), Request("", "the king"),
    Request(f"{CONTEXT} the people have", " 12"), Request("a user", " asks, an assistant answers"),
]  # fmt: skip
KERNELS = ["torch", pytest.param("native", marks=pytest.mark.skipif(bool(why_not()), reason=str(why_not())))]


def wide() -> Model:
    """A model that our kernels take."""
    return tiny_model(
        vocab_size=TOKENIZER.vocab_size, hidden_size=32, num_heads=2, num_kv_heads=1, head_dim=16, intermediate_size=48, max_seq_len=64
    )


def subject(model: Model, tokenizer: Tokenizer = TOKENIZER) -> Subject:
    return Subject(model, tokenizer, FIRST, Engine(model, stop_ids=STOPS, rows=4), lambda turns: tokenizer.encode(turns[-1].content))


def by_hand(model: Model, before: list[int], after: list[int]) -> tuple[float, bool]:
    """Sum of log softmax at the tokens after, and whether each is the likeliest."""
    ids = torch.tensor([before + after])
    log_p = logits(model, ids)[0].detach().double().log_softmax(-1)
    places = range(len(before) - 1, ids.shape[1] - 1)
    chosen = [(log_p[place], int(ids[0, place + 1])) for place in places]
    return sum(float(row[token]) for row, token in chosen), all(int(row.argmax()) == token for row, token in chosen)


def ids_of(request: Request) -> tuple[list[int], list[int]]:
    """As lm-eval has it: encoded together, cut where the context alone ends; trailing spaces belong to what follows."""
    context = request.context.rstrip()
    whole = TOKENIZER.encode(request.context + request.continuation).tolist()
    before = TOKENIZER.encode(context).tolist() if context else []
    return (before, whole[len(before) :]) if context else ([FIRST], whole)


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("most", [8, 4096])
def test_a_likelihood_is_that_of_the_sequence_alone(kernels, most, monkeypatch):
    monkeypatch.setattr(module, "TOKENS", most)
    model = ours("llama") if kernels == "torch" else wide()
    expected = [by_hand(model, *ids_of(request)) for request in REQUESTS]
    if kernels == "native":
        assert use(model.trunk) is None
    found = subject(model).likelihoods(REQUESTS)
    assert [each.logprob for each in found] == pytest.approx([logprob for logprob, _ in expected], abs=2e-4)
    assert [each.is_greedy for each in found] == [is_greedy for _, is_greedy in expected]
    quick = subject(model).likelihoods(REQUESTS, with_greedy=False)
    assert [each.logprob for each in quick] == [each.logprob for each in found]
    assert not any(each.is_greedy for each in quick)


def test_what_greedy_decoding_says_is_greedy():
    model = ours("llama")
    [said] = Engine(model, stop_ids=()).generate([TOKENIZER.encode(CONTEXT)], Sampling(temperature=0, max_new_tokens=4), seed=1)
    before, after = said.tokens[: said.meta["prompt_length"]].tolist(), said.response.tolist()
    worse = [*after[:-1], (after[-1] + 1) % TOKENIZER.vocab_size]
    items = [example(before + ids, [0] * len(before) + [1] * len(ids)) for ids in (after, worse)]
    missed = [missed for _, missed in subject(model)._read(items, True)]
    assert missed == [0, 1]


def test_a_long_text_is_scored_in_windows_each_token_once():
    model = ours("llama")  # reads 64 positions
    text = "the people have 12 ships and the land said hello to the assistant. " * 4
    ids = TOKENIZER.encode(text).tolist()
    assert len(ids) > 2 * 64
    [found] = subject(model).likelihoods([Request("", text, is_whole=True)])
    whole = [FIRST, *ids]
    expected, start = 0.0, 1
    for end in [*range(64, len(whole), 63), len(whole)]:
        window = whole[max(0, end - 64) : end]
        expected += by_hand(model, window[: len(window) - (end - start)], whole[start:end])[0]
        start = end
    assert found.logprob == pytest.approx(expected, abs=1e-3)


def test_what_is_too_long_loses_its_beginning_and_is_counted():
    model = ours("llama")
    asked = subject(model)
    context = " ".join(["the people have 12 ships"] * 20)
    [found] = asked.likelihoods([Request(context, " hello")])
    before, after = ids_of(Request(context, " hello"))
    assert found.logprob == pytest.approx(by_hand(model, before[-(64 - len(after)) :], after)[0], abs=1e-4)
    assert asked.num_cut == 1


def test_what_a_tokenizer_puts_before_every_text_is_kept():
    from tokenizers import Tokenizer as Backend
    from tokenizers.processors import TemplateProcessing

    assert leading_ids(TOKENIZER).tolist() == []
    backend = Backend.from_str(TOKENIZER.to_json())
    backend.post_processor = TemplateProcessing(single="<|user|> $A", special_tokens=[("<|user|>", TOKENIZER.special["<|user|>"])])
    begins = Tokenizer(backend)
    assert leading_ids(begins).tolist() == [TOKENIZER.special["<|user|>"]]
    model = ours("llama")
    [found] = subject(model, begins).likelihoods([Request("the king", " said")])
    before, after = ids_of(Request("the king", " said"))
    assert found.logprob == pytest.approx(by_hand(model, [TOKENIZER.special["<|user|>"], *before], after)[0], abs=1e-4)


def test_batches_count_what_is_shared_once_and_lose_nothing():
    start = list(range(40))
    items = [example([*start, 50 + i, 60]) for i in range(6)] + [example([9] * 30)]
    assert [len(part) for part in batches(items, 60, 10**6)] == [6, 1]  # 41 and five times 1, then 29: the last tokens cost nothing
    assert [len(part) for part in batches(items, 42, 10**6)] == [2, 2, 2, 1]
    letters = [example([*start, 70, 80 + i]) for i in range(4)]
    assert [len(part) for part in batches([items[0], *letters], 42, 10**6)] == [5]  # 41 and 1: what is before the letters once
    assert [len(part) for part in batches(items, 10**6, 84)] == [2, 2, 2, 1]
    assert [len(part) for part in batches(items, 1, 1)] == [1] * 7
    assert list(batches([], 10, 10)) == []


@pytest.mark.skipif(bool(why_not()), reason=str(why_not()))
def test_letters_after_one_context_cost_one_pass_over_it(monkeypatch):
    """The second item shares a beginning of 16 tokens with the first, and its letters all of their context."""
    model = wide()
    items = [Request(f"{CONTEXT * 2}: {word}", f" {letter}") for word in ("people", "a user says hello") for letter in "ABCD"]
    expected = [by_hand(model, *ids_of(request))[0] for request in items]
    first, second = (len(ids_of(request)[0]) for request in (items[0], items[4]))
    both = zip(*(ids_of(request)[0] for request in (items[0], items[4])), strict=False)
    common = [a == b for a, b in both].index(False)
    assert common >= 16
    assert use(model.trunk) is None
    seen, forward = [], model.trunk.forward
    monkeypatch.setattr(model.trunk, "forward", lambda tokens, *rest, **more: seen.append(tokens.numel()) or forward(tokens, *rest, **more))
    found = subject(model).likelihoods(items, with_greedy=False)
    assert [each.logprob for each in found] == pytest.approx(expected, abs=2e-4)
    assert {len(ids_of(request)[1]) for request in items} == {2}  # a space and a letter, so that a space is read
    assert sum(seen) == first + 1 + second + 1 - common


def test_answers_end_at_the_stop_text_and_do_not_depend_on_their_neighbours():
    model = ours("llama")
    prompts = [TOKENIZER.encode(word) for word in ("the king", "a user", "hello")]
    sampling = Sampling(temperature=1.0, max_new_tokens=24)
    free = subject(model).answer(prompts, sampling, (), seed=1, purpose="t", numbers=range(3))
    text = free[0][0]
    stop = text[len(text) // 2 : len(text) // 2 + 2]
    cut = subject(model).answer(prompts, sampling, (stop,), seed=1, purpose="t", numbers=range(3))
    assert cut[0] == (text[: text.find(stop)], True)
    [alone] = subject(model).answer(prompts[1:2], sampling, (), seed=1, purpose="t", numbers=[1])
    assert alone == free[1]


def test_answers_that_leave_no_room_for_a_prompt_are_refused():
    with pytest.raises(ConfigError, match="nq: answers of 64 tokens leave no room for a prompt, as the model reads 64; lower"):
        subject(ours("llama")).answer(
            [TOKENIZER.encode("the king")], Sampling(temperature=0, max_new_tokens=64), (), seed=1, purpose="nq", numbers=[0]
        )


def test_a_text_is_cut_at_the_first_of_its_ends():
    assert cut_at("one. two\nthree", ("\n", ". ")) == "one"
    assert cut_at("one", ("\n",)) == "one"


def test_ids_are_ints_that_the_model_reads():
    [ids] = subject(ours("llama")).encode(["the king"])
    assert ids.dtype == np.int32
