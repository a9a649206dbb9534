"""Where the answers of reinforcement learning are sampled: in the trainer's process, in another, or by servers elsewhere."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from trivium.core.config import Texts, component
from trivium.core.endpoint import Endpoint
from trivium.core.errors import ConfigError
from trivium.core.world import environment_value
from trivium.generate.remote import start_line


@component
class InProcess:
    """The trainer's own weights, between its updates."""

    kind: Literal["in_process"] = "in_process"
    max_lag: ClassVar[int] = 0
    in_flight: ClassVar[bool] = False

    def notes(self, model: str, tokens: int) -> tuple[str, ...]:
        """What the user has to do first."""
        return ()


@component
class OtherProcess:
    """Our engine in a process of its own, which the stage starts and ends.

    max_lag: 0 samples a phase with the weights of after the phase before it, as in process; 1 while that phase is still learned from,
    so with the weights of one phase earlier; k with those of k phases earlier, as far as there were so many. in_flight: new weights do
    not wait for the answers in work; see docs/separate-samplers.md.
    """

    kind: Literal["native"] = "native"
    max_lag: int = Field(default=0, ge=0, le=64)
    in_flight: bool = False

    def notes(self, model: str, tokens: int) -> tuple[str, ...]:
        """See InProcess."""
        return ()


@component
class Servers:
    """vLLM servers that you started in an environment of their own; they must see the run folder under the same path.

    urls: http://localhost:8000 for example, with the key in the environment variable key_env. timeout_s: for an answer, or to take
    weights. max_lag, in_flight: as for native.
    """

    kind: Literal["vllm"] = "vllm"
    urls: Texts = Field(min_length=1)
    key_env: str = ""
    max_lag: int = Field(default=0, ge=0, le=64)
    in_flight: bool = False
    timeout_s: float = Field(default=600.0, gt=0)

    def notes(self, model: str, tokens: int) -> tuple[str, ...]:
        """See InProcess."""
        return (f"start each server, in vLLM's own environment, as: {start_line(model, tokens)}",)

    def endpoints(self) -> list[Endpoint]:
        """The servers. Raises ConfigError for no address, one that is there twice, and a variable without a key."""
        if len(set(self.urls)) < len(self.urls):
            raise ConfigError("engine.urls: a server is named twice")
        key = environment_value(self.key_env) if self.key_env else ""
        if key is None:
            raise ConfigError(f"engine.key_env: there is no variable {self.key_env}; put the key of the servers into it")
        return [Endpoint(url, key, self.timeout_s) for url in self.urls]


AnyEngine = Annotated[InProcess | OtherProcess | Servers, Field(discriminator="kind")]
