"""proxy: three models that speak as one, a base moved at each token by what tuning did to a small model."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from trivium.core.commit import commit
from trivium.core.config import component
from trivium.core.errors import ConfigError
from trivium.core.run import Run
from trivium.nn.io.proxy_json import FILE, KIND, LARGEST_ALPHA, is_proxy, parsed, proxy_json
from trivium.nn.io.tokenizer_files import write_json
from trivium.stages.base import Foresight, Work, check_model, known_model, resolve


@component
class Proxy:
    """Leaves `@proxy/model`, a directory that names three models and may be named wherever a model is that is not trained.

    At each token the logits are base + alpha (expert - anti_expert): expert is a small model that was tuned, anti_expert the same model
    before. All three have one tokenizer. Each reads the prompt in its own chat format; what ends an answer is the expert's. top_k: only
    among the base's likeliest words, as of a model that shows no others (5 of the hosted one in the paper); 0: among all of them.
    Nothing is copied: the three directories must stay where they are, as they are.
    """

    kind: Literal["proxy"] = "proxy"
    base: str
    expert: str
    anti_expert: str
    alpha: float = Field(default=1.0, ge=0, le=LARGEST_ALPHA)
    top_k: int = Field(default=0, ge=0)

    @property
    def parts(self) -> dict[str, str]:
        """The three by role."""
        return {"base": self.base, "expert": self.expert, "anti_expert": self.anti_expert}

    def check(self) -> None:
        for role, reference in self.parts.items():
            check_model(reference)
            if not reference.startswith("@") and is_proxy(Path(reference)):
                raise ConfigError(f"'{role}': {reference} is a proxy itself; name one model")

    def foresee(self, name: str, known: Foresight) -> Work:
        known.models[name] = known_model(known, self.base)
        return Work(seconds=1.0)

    def run(self, run: Run) -> Mapping[str, Any]:
        from trivium.nn.adapter import fingerprint
        from trivium.stages.computing.models import machine_of, proxy_speaker

        place = run.folder / "model"
        paths = {role: os.path.realpath(resolve(run, reference)) for role, reference in self.parts.items()}
        described = parsed(proxy_json(paths, alpha=self.alpha, top_k=self.top_k, weights={}), place)
        speaker = proxy_speaker(described, place, machine_of(run))  # which says if they do not belong together
        weights = {role: fingerprint(part) for role, part in zip(self.parts, speaker.model.parts, strict=True)}
        seen = {role: os.path.relpath(path, os.path.realpath(place)) for role, path in paths.items()}  # `..` of a link is of its target
        fields = proxy_json(seen, alpha=self.alpha, top_k=self.top_k, weights=weights)
        commit(place, lambda folder: write_json(folder / FILE, fields), kind=KIND)
        sizes = ", ".join(f"{role} {part.num_parameters:,}" for role, part in zip(self.parts, speaker.model.parts, strict=True))
        run.log(f"{speaker.model.num_parameters:,} parameters: {sizes}; alpha {self.alpha:g}" + f", top {self.top_k}" * bool(self.top_k))
        if speaker.chats:
            run.log("the three write turns in different ways: each gets a prompt in its own, and the expert's ends an answer")
        return {"parameters": speaker.model.num_parameters}
