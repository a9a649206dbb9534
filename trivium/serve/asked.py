"""What a client may ask, in the fields of OpenAI's interface: each has a type and bounds, and one that is not known is refused."""

import secrets
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from trivium.core.errors import DataError
from trivium.core.types import Message, Role
from trivium.generate.sampling import Sampling

T = TypeVar("T", bound=BaseModel)
Stop = Annotated[str, Field(min_length=1, max_length=256)]
MOST_CHOICES = 16


class RefusedError(DataError):
    """A request that cannot be served; `param` names the field, `status` is HTTP's."""

    def __init__(self, message: str, param: str | None = None, status: int = 400, code: str | None = None) -> None:
        super().__init__(message)
        self.param, self.status, self.code = param, status, code


class Strict(BaseModel):
    """Fields of their type and no others; one that is null counts as left out, since clients send back the nulls that they were told."""

    model_config = ConfigDict(strict=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        return {name: value for name, value in given.items() if value is not None} if isinstance(given, Mapping) else given


class Part(Strict):
    """A piece of a turn; only text is understood."""

    type: Literal["text"]
    text: str


class Turn(Strict):
    """A turn of a chat."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part]

    def message(self) -> Message:
        """The turn as a message; what developers say is the system's."""
        role: Role = "system" if self.role == "developer" else self.role
        return Message(role, self.content if isinstance(self.content, str) else "".join(part.text for part in self.content))


class StreamOptions(Strict):
    """include_usage: end the stream with the number of tokens."""

    include_usage: bool = False


class _Asked(Strict):
    """What chats and texts have in common. The two penalties are there because clients send their neutral value."""

    model: str
    n: int = Field(default=1, ge=1, le=MOST_CHOICES)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1, le=2**31)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    frequency_penalty: float | None = Field(default=None, ge=0, le=0)
    presence_penalty: float | None = Field(default=None, ge=0, le=0)

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts that end an answer."""
        return () if self.stop is None else (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    @property
    def has_usage(self) -> bool:
        """Whether a stream ends with the number of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage

    def seeded(self) -> int:
        """The seed; drawn where none is given."""
        return secrets.randbits(63) if self.seed is None else self.seed

    def sampling(self, most: int) -> Sampling:
        """How to choose tokens, at most so many. Raises ConfigError for a temperature that is almost 0."""
        temperature = 1.0 if self.temperature is None else self.temperature
        return Sampling(temperature=temperature, top_p=1.0 if self.top_p is None else self.top_p, max_new_tokens=most)


class ChatAsked(_Asked):
    """The body of /v1/chat/completions."""

    messages: list[Turn] = Field(min_length=1, max_length=1024)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=2**31)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)

    def most(self, room: int) -> int:
        """Tokens of an answer; without a limit all that the context has room for."""
        return min(limit for limit in (self.max_completion_tokens, self.max_tokens, room) if limit is not None)

    @property
    def alternatives(self) -> int | None:
        """Likeliest tokens to name beside each; None if no log-probs are wanted."""
        return (self.top_logprobs or 0) if self.logprobs else None


class TextAsked(_Asked):
    """The body of /v1/completions."""

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=MOST_CHOICES)]
    logprobs: int | None = Field(default=None, ge=0, le=5)

    def most(self, room: int) -> int:
        """Tokens of an answer: 16 if nothing is said, as OpenAI has it."""
        return min(16 if self.max_tokens is None else self.max_tokens, room)

    @property
    def alternatives(self) -> int | None:
        """See ChatAsked."""
        return self.logprobs

    @property
    def prompts(self) -> list[str]:
        """All prompts."""
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt


def checked(kind: type[T], body: Any) -> T:
    """The body as what it should be. Raises RefusedError that names the first field that is wrong."""
    if not isinstance(body, Mapping):
        raise RefusedError("the body must be a JSON object")
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RefusedError(f"'{where[:200]}': {first['msg']}", str(first["loc"][0])[:200] if first["loc"] else None) from None
