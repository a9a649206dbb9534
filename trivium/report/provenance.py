"""What the machine was, with which versions, and how to run it again."""

from collections.abc import Mapping
from typing import Any

from trivium.report.html import Html, details, element, join, muted, words
from trivium.report.reading import Record, table_of


def machine(record: Record) -> Html:
    """Processor, memory, versions and seed, as the manifest has them."""
    facts = {name: record.manifest.get(name) for name in ("started", "seed")}
    shown = {**table_of(record.manifest.get("machine")), **{name: value for name, value in facts.items() if value is not None}}
    versions = table_of(record.manifest.get("versions"))
    if not shown and not versions:
        return muted("Left out: manifest.json is not there, or names neither machine nor versions.")
    return join([_list(shown), element("h3", "Versions") if versions else "", _list(versions)])


def repeat(record: Record) -> Html:
    """The command that repeats the run, and the recipe it reads."""
    command = element("pre", f"trivium run runs/{record.name}/run.toml")
    if not record.recipe:
        return join([command, muted("run.toml is not in this run folder; without it the command has nothing to read.")])
    explained = "The recipe is resolved: every option is in it, also those that were derived or chosen for this machine."
    return join([command, element("p", explained), details("run.toml", element("pre", record.recipe))])


def _list(values: Mapping[str, Any]) -> Html:
    terms = {"memory_gib": "memory (GiB)"}
    entries = (join([element("dt", terms.get(name, words(name))), element("dd", value)]) for name, value in values.items())
    return element("dl", *entries) if values else join([])
