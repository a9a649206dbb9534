"""proxy.json, the directory form of a model made of three, in and out. No torch: options are checked before it is loaded.

{"base": "models/large", "expert": "models/small-tuned", "anti_expert": "models/small", "alpha": 1.0, "top_k": 0}
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trivium.core.commit import MANIFEST, verify
from trivium.core.errors import ArtefactError
from trivium.nn.io.json_file import read_json

FILE, KIND = "proxy.json", "proxy"
PROXY: Literal["proxy"] = "proxy"  # the family of such a model
ROLES = ("base", "expert", "anti_expert")
LARGEST_ALPHA = 1e3


@dataclass(frozen=True, slots=True)
class ProxyFile:
    """What a proxy is made of. parts: by role, a path or the name of a model. weights: fingerprints of theirs by role, where known."""

    parts: Mapping[str, str]
    alpha: float
    top_k: int
    weights: Mapping[str, str]


def is_proxy(path: Path) -> bool:
    """Whether a folder is a proxy's."""
    return (path / FILE).is_file()


def read_proxy(folder: Path) -> ProxyFile:
    """What a folder's proxy.json says; a path in it is seen from the folder, or from the working directory. Raises ArtefactError."""
    file = folder / FILE
    if (folder / MANIFEST).exists():
        verify(folder, kind=KIND)
    return parsed(read_json(file), folder)


def parsed(fields: Mapping[str, Any], folder: Path) -> ProxyFile:
    """The same of the content of a proxy.json that is, or will be, in a folder. Raises ArtefactError."""
    file = folder / FILE
    known = {*ROLES, "alpha", "top_k", "weights"}
    for name in fields:
        if name not in known:
            raise ArtefactError(f"{file}: '{name}' is unknown; a proxy has {', '.join(ROLES)}, alpha and top_k")
    parts: dict[str, str] = {}
    for role in ROLES:
        if not isinstance(fields.get(role), str) or not fields[role]:
            raise ArtefactError(f"{file}: {role} is {str(fields.get(role))[:80]}; it must be the path of a model directory")
        parts[role] = str(folder / fields[role]) if (folder / fields[role]).is_dir() else fields[role]
        if is_proxy(Path(parts[role])):
            raise ArtefactError(f"{file}: {role} is {parts[role]}, a proxy itself; name one model")
    alpha, top_k, weights = fields.get("alpha", 1.0), fields.get("top_k", 0), fields.get("weights", {})
    if type(alpha) not in (int, float) or not 0 <= alpha <= LARGEST_ALPHA:
        raise ArtefactError(f"{file}: alpha is {str(alpha)[:80]}; it must be a number from 0 to {LARGEST_ALPHA:g} (1 is usual)")
    if type(top_k) is not int or top_k < 0:
        raise ArtefactError(f"{file}: top_k is {str(top_k)[:80]}; it must be a whole number from 0, which is no limit")
    if not isinstance(weights, dict) or not all(isinstance(value, str) for value in weights.values()):
        raise ArtefactError(f"{file}: weights is {str(weights)[:80]}; it must name fingerprints by role")
    return ProxyFile(parts, float(alpha), top_k, weights)


def proxy_json(parts: Mapping[str, str], *, alpha: float, top_k: int, weights: Mapping[str, str]) -> dict[str, Any]:
    """The content of proxy.json."""
    return {**{role: parts[role] for role in ROLES}, "alpha": alpha, "top_k": top_k, "weights": dict(weights)}
