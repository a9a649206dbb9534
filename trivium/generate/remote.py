"""vLLM in an environment of its own, over HTTP: everything here that knows what its calls are named. It is never imported.

What a server can do is asked of it (its /openapi.json), not guessed from a version. Tokens: /inference/v1/generate (token ids in and out,
spans of weight versions), else /v1/completions with token ids. Weights: a folder that both sides see, read by `reload_weights`, between
/pause and /resume, and then named by /update_weight_version. Left out: the transfer of weights over NCCL, whose other half vLLM has only
as code to be imported.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from trivium.core.endpoint import Endpoint
from trivium.core.errors import ConfigError, DataError, EngineError
from trivium.core.seeds import key
from trivium.generate.samplers import Answer, Batch, Weights
from trivium.text.strict_json import parse

GENERATE, COMPLETIONS, RPC = "/inference/v1/generate", "/v1/completions", "/collective_rpc"
NAME_WEIGHTS, WEIGHT_INFO, PAUSE, RESUME, SERVER_INFO = "/update_weight_version", "/weight_info", "/pause", "/resume", "/server_info"
MAX_BYTES = 64 << 20  # of an answer, or of what a server says that it can do
NUM_CONNECTIONS = 128  # requests that one server is asked at once; it makes a batch of them
START = (
    "VLLM_SERVER_DEV_MODE=1 vllm serve {model} --host 127.0.0.1 --port 8000 --api-key $KEY --enable-scale-out"
    " --logprobs-mode processed_logprobs --generation-config vllm --max-model-len {tokens}"
)


def start_line(model: str, tokens: int) -> str:
    """The command that starts a server in vLLM's own environment, reached from this machine alone."""
    return START.format(model=model, tokens=tokens)


@dataclass(slots=True)
class VLLM:
    """One server. stop_ids: what ends an answer. tokens: that a prompt and its answer may have. model: for the line that starts one."""

    endpoint: Endpoint
    stop_ids: Sequence[int]
    tokens: int
    model: str
    is_in_flight: bool = False
    temperature: float = 1.0
    _paths: frozenset[str] = frozenset()
    _served: str = ""
    _versions: dict[str, int] = field(default_factory=dict)  # label -> number, of all weights that it was given
    _label: str = ""

    @property
    def name(self) -> str:
        """See Server."""
        return self.endpoint.url

    def look(self) -> None:
        """Ask what it can do.

        Raises ConfigError for what is missing, with the line that starts it right, and EngineError if it is not there.
        """
        how = f"start it as: {start_line(self.model, self.tokens)}"
        try:
            self._paths = frozenset(self._call("/openapi.json").get("paths", {}))
        except EngineError as error:
            raise EngineError(f"{self.name}: {error}; {how}") from None
        if not self._paths & {GENERATE, COMPLETIONS}:
            raise ConfigError(f"{self.name}: has neither {GENERATE} nor {COMPLETIONS}; {how}")
        if RPC not in self._paths:
            raise ConfigError(f"{self.name}: has no {RPC}, by which it takes new weights; {how}")
        if self.is_in_flight and not {GENERATE, NAME_WEIGHTS, PAUSE, RESUME} <= self._paths:
            raise ConfigError(f"{self.name}: does not say which weights a token comes from, which in_flight needs; {how}")
        [served, *_] = self._call("/v1/models").get("data") or [{}]
        self._served, longest = str(served.get("id", "")), served.get("max_model_len")
        if isinstance(longest, int) and longest < self.tokens:
            raise ConfigError(f"{self.name}: reads {longest:,} tokens, but a prompt with its answer may have {self.tokens:,}; {how}")
        if SERVER_INFO in self._paths and self.temperature != 1:
            config = self._call(f"{SERVER_INFO}?config_format=json").get("vllm_config", {})
            mode = (config.get("model_config") or {}).get("logprobs_mode") if isinstance(config, dict) else None
            if mode not in (None, "processed_logprobs"):
                raise ConfigError(f"{self.name}: gives {mode}, those before the temperature, which is {self.temperature:g}; {how}")

    @property
    def caution(self) -> str:
        """Once it was looked at, what nobody can make sure of because it lacks the calls, in a line; "" if it has them."""
        missing = " nor ".join(path for path in (NAME_WEIGHTS, WEIGHT_INFO) if path not in self._paths)
        return missing and f"the sampler {self.name} has no {missing}: whether it took new weights is seen by its log-probs alone"

    def load(self, weights: Weights, *, is_in_flight: bool) -> None:
        """See Server. Requests in work wait where they are; the new weights get their name only after they were read."""
        if not self._paths:
            self.look()
        self._versions[weights.label] = weights.version
        self._post(f"{PAUSE}?mode={'keep' if is_in_flight else 'wait'}")
        try:
            self._post(RPC, {"method": "reload_weights", "kwargs": {"weights_path": str(weights.folder)}})
            self._post(NAME_WEIGHTS, {"new_version": weights.label})
            self._label = weights.label
        finally:
            self._post(RESUME)
        if WEIGHT_INFO in self._paths and (found := self._call(WEIGHT_INFO).get("weight_version")) != weights.label:
            raise EngineError(f"says that it has the weights {str(found)[:80]!r}")

    def sample(self, batch: Batch, numbers: Sequence[int]) -> list[Answer | str]:
        """See Server. After the first request that finds no server, those that are not sent yet are not."""
        found: dict[int, Answer | str] = {}
        todo: SimpleQueue[int] = SimpleQueue()
        for number in numbers:
            todo.put(number)

        def ask_all() -> None:
            while True:
                try:
                    number = todo.get_nowait()
                except Empty:
                    return
                try:
                    found[number] = self._answer(batch, number)
                except _WrongAnswerError as error:
                    found[number] = str(error)
                except (EngineError, ConfigError) as error:
                    found[number] = str(error)
                    _empty(todo)

        threads = [threading.Thread(target=ask_all, daemon=True) for _ in range(min(NUM_CONNECTIONS, len(numbers)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        reason = next((said for said in found.values() if isinstance(said, str)), "no answer")
        return [found.get(number, reason) for number in numbers]

    def close(self) -> None:
        """See Server. It is the user's, so it is left as it is."""

    def _answer(self, batch: Batch, number: int) -> Answer:
        prompt, sampling = batch.prompts[number], batch.sampling
        stream = key(batch.seed, batch.purpose, batch.step, number)
        drawn = {
            "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k, "min_p": sampling.min_p,
            "repetition_penalty": sampling.repetition_penalty, "max_tokens": min(sampling.max_new_tokens, self.tokens - len(prompt)),
            "seed": stream >> 2, "stop_token_ids": list(self.stop_ids), "skip_special_tokens": False, "n": 1,
        }  # fmt: skip
        common = {"model": self._served, "cache_salt": self._label or "none", "stream": False}
        if GENERATE in self._paths:
            name = f"{self._label}-{batch.purpose}-{batch.step}-{number}-{stream:x}".replace(" ", "-")
            asked = {"request_id": name, "token_ids": prompt.tolist(), "sampling_params": {**drawn, "logprobs": 0, "detokenize": False}}
            return self._read(self._call(GENERATE, {**common, **asked}), name)
        asked = {"prompt": prompt.tolist(), "logprobs": 0, "return_token_ids": True, "add_special_tokens": False}
        return self._read(self._call(COMPLETIONS, {**common, **drawn, **asked}), "")

    def _read(self, said: Mapping[str, Any], name: str) -> Answer:
        """What is said, if it is of the form that it should have. Raises _WrongAnswerError."""
        if name not in str(said.get("request_id", "")):
            raise _WrongAnswerError(f"the answer is that to another request, {str(said.get('request_id'))[:80]!r}")
        try:
            [choice] = said["choices"]
            tokens, logprobs = choice["token_ids"], choice["logprobs"]
            found = logprobs["token_logprobs"] if "token_logprobs" in logprobs else [entry["logprob"] for entry in logprobs["content"]]
            spans = choice.get("weight_versions")
            finish, numbers = choice["finish_reason"], [float(np.float32(number)) for number in found]
            if not all(type(token) is int for token in tokens) or finish not in ("stop", "length"):
                raise ValueError(f"it ends as {str(finish)[:40]!r}")
            return Answer(tokens, numbers, self._versions_of(spans, len(tokens)), finish)
        except (LookupError, TypeError, ValueError) as error:
            raise _WrongAnswerError(
                f"the answer has not the form that it should have ({type(error).__name__}: {str(error)[:80]})"
            ) from None

    def _versions_of(self, spans: Any, size: int) -> list[int]:
        """The version of each token; weights that we never gave it have -1. Raises LookupError, TypeError or ValueError."""
        if spans is None:
            if self.is_in_flight:
                raise ValueError("no weight versions")
            return [self._versions[self._label]] * size
        found = [-1] * size
        for span in spans:
            start, end = span["start"], span["end"]
            found[start:end] = [self._versions.get(span["version"], -1)] * len(found[start:end])
        return found

    def _post(self, path: str, body: Mapping[str, Any] | None = None) -> None:
        """Do something that servers of some versions lack: what none can do without was looked for at the start."""
        if path.partition("?")[0] in self._paths:
            self._call(path, body or {})

    def _call(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What it says, {} if nothing.

        Raises EngineError if there is no server, _WrongAnswerError for what nobody can use, ConfigError where the key is refused.
        """
        try:
            content = None if body is None else json.dumps(body).encode()
            status, reason, said = self.endpoint.ask(path, content, most_bytes=MAX_BYTES)
        except (OSError, HTTPException, ValueError) as error:  # ValueError: of a connection that was cut while it was read
            raise EngineError(f"no answer within {self.endpoint.timeout_s:g} s ({type(error).__name__}: {error})") from None
        if status in (401, 403):
            raise ConfigError(f"{self.name}: answered {status} {reason}; key_env names the variable with the key that it was started with")
        if status != 200:
            raise _WrongAnswerError(f"{path.partition('?')[0]} answered {status} {reason}: {said[:200].decode(errors='replace')}")
        try:
            found = parse(said.decode(errors="replace"), path) if said else {}
        except DataError as error:
            raise _WrongAnswerError(str(error)) from None
        return found if isinstance(found, dict) else {}


class _WrongAnswerError(EngineError):
    """The server is there, but this is nothing that can be used."""


def _empty(queue: "SimpleQueue[Any]") -> None:
    while True:
        try:
            queue.get_nowait()
        except Empty:
            return
