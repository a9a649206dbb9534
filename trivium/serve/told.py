"""What clients are told, in the shapes of OpenAI's interface."""

import json
import secrets
import time
from collections.abc import Iterable, Sequence
from typing import Any

from trivium.generate.job import Said
from trivium.serve.asked import RefusedError
from trivium.serve.worker import Answers, Words
from trivium.text.tokenizer import Tokenizer

Json = dict[str, Any]
_LEAST = -9999.0  # JSON has no infinity


class Told:
    """One response: a chat's or a text's, whole or in chunks. has_logprobs: whether tokens are listed."""

    def __init__(self, *, is_chat: bool, model: str, tokenizer: Tokenizer, has_logprobs: bool) -> None:
        self.is_chat, self.tokenizer, self.has_logprobs = is_chat, tokenizer, has_logprobs
        self._head = {
            "id": f"{'chatcmpl' if is_chat else 'cmpl'}-{secrets.token_hex(12)}", "created": int(time.time()), "model": model,
        }  # fmt: skip
        self._offsets: dict[int, int] = {}  # of each answer: characters of the tokens listed so far

    def whole(self, answers: Answers, words: Iterable[Words]) -> Json:
        """The body of a response that is not streamed."""
        choices = []
        every = list(words)
        for choice in range(len(answers.requests)):
            own = [each for each in every if each.choice == choice]
            text, finish = "".join(each.text for each in own), own[-1].finish
            said: Json = {"message": {"role": "assistant", "content": text, "refusal": None}} if self.is_chat else {"text": text}
            tokens = [token for each in own for token in each.tokens]
            choices.append({"index": choice, **said, "logprobs": self._logprobs(choice, tokens), "finish_reason": finish})
        return {**self._named("chat.completion"), "choices": choices, "usage": usage(answers)}

    def opening(self, choice: int) -> Json:
        """The first chunk of a chat's answer, which says who speaks."""
        return self._chunk({"index": choice, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None})

    def chunks(self, words: Words) -> list[Json]:
        """What is sent when words have come: the text, and in a chat apart from it that it has ended."""
        logprobs = self._logprobs(words.choice, words.tokens)
        if not self.is_chat:
            return [self._chunk({"index": words.choice, "text": words.text, "logprobs": logprobs, "finish_reason": words.finish})]
        found = []
        if words.text or (words.tokens and self.has_logprobs):
            delta = {"content": words.text}
            found.append(self._chunk({"index": words.choice, "delta": delta, "logprobs": logprobs, "finish_reason": None}))
        if words.finish is not None:
            found.append(self._chunk({"index": words.choice, "delta": {}, "logprobs": None, "finish_reason": words.finish}))
        return found

    def closing(self, answers: Answers) -> Json:
        """The chunk with the number of tokens."""
        return {**self._named("chat.completion.chunk"), "choices": [], "usage": usage(answers)}

    def _chunk(self, choice: Json) -> Json:
        return {**self._named("chat.completion.chunk"), "choices": [choice]}

    def _named(self, kind: str) -> Json:
        return {**self._head, "object": kind if self.is_chat else "text_completion"}

    def _logprobs(self, choice: int, tokens: Sequence[Said]) -> Json | None:
        """Of the model at temperature 1, before top_p cuts anything away."""
        if not self.has_logprobs:
            return None
        if self.is_chat:
            entries = [
                {**self._entry(said.token, said.plain_logprob), "top_logprobs": [self._entry(*other) for other in said.likeliest]}
                for said in tokens
            ]
            return {"content": entries, "refusal": None}
        texts, offsets, at = [self._text(said.token) for said in tokens], [], self._offsets.get(choice, 0)
        for text in texts:
            offsets.append(at)
            at += len(text)
        self._offsets[choice] = at
        likeliest = [{self._text(token): max(logprob, _LEAST) for token, logprob in reversed(said.likeliest)} or None for said in tokens]
        logprobs = [max(said.plain_logprob, _LEAST) for said in tokens]
        return {"tokens": texts, "token_logprobs": logprobs, "top_logprobs": likeliest, "text_offset": offsets}

    def _entry(self, token: int, logprob: float) -> Json:
        text = self._text(token)
        return {"token": text, "logprob": max(logprob, _LEAST), "bytes": None if "\ufffd" in text else list(text.encode())}

    def _text(self, token: int) -> str:
        return self.tokenizer.decode([token], skip_special=False)


def usage(answers: Answers) -> Json:
    """Numbers of tokens."""
    prompt = answers.prompt_tokens
    return {"prompt_tokens": prompt, "completion_tokens": answers.tokens, "total_tokens": prompt + answers.tokens}


def event(content: Json | str) -> bytes:
    """A server-sent event."""
    return f"data: {content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)}\n\n".encode()


def refusal(error: RefusedError) -> Json:
    """The body of an error."""
    kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error", 500: "server_error", 503: "server_error"}
    return {
        "error": {
            "message": str(error), "type": kinds.get(error.status, "invalid_request_error"), "param": error.param, "code": error.code,
        }
    }  # fmt: skip
