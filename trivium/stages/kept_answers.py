"""Answers that `reinforce rollouts=FOLDER` keeps: which of those in a folder a stage is going to learn from and has not sampled itself.

Every folder of answers bears the mark of the stage that sampled them, the fingerprint of what its result depends on. What bears its own
mark it would sample again, so that is no input: a run that was killed has left some, one that is complete all. What bears another is data
that it reads like any other, and when that changes, so does the result.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trivium.core.commit import fingerprint, read_manifest

KIND, MAKER = "answers", "made_by"  # of the folder of a time that a sampler was asked; the entry of its manifest with the mark


def with_kept(identity: Mapping[str, Any]) -> dict[str, Any]:
    """The identity of a stage, with the answers that it takes from others. Raises ArtefactError for a damaged manifest.

    With a lag it takes none.
    """
    options = identity["options"]
    folder = options.get("rollouts")
    if not folder or options["engine"].get("max_lag"):
        return dict(identity)
    there = {place.name: read_manifest(place, kind=KIND) for place in sorted(Path(folder).glob("[0-9]*-*")) if place.is_dir()}
    makers = {name: manifest["meta"].get(MAKER, "") for name, manifest in there.items()}

    def of_others(own: str) -> dict[str, Any]:
        files = {name: manifest["files"] for name, manifest in there.items() if not own or makers[name] != own}
        return {**identity, "inputs": {**identity["inputs"], **({folder: files} if files else {})}}

    for own in sorted(set(makers.values())):  # its own mark follows from what is not its own: it is the one with which that comes out
        if fingerprint(found := of_others(own)) == own:
            return found
    return of_others("")
