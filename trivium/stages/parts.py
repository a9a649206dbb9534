"""`prepare` on many machines: each cleans a part of the files into one folder of pieces, and `prepare` puts them together.

What a part leaves depends on its input alone, so parts may be done in any order, again, or by others; those that are there are skipped.

    sbatch --array=0-99 --wrap 'trivium data clean sources=crawl pieces=/shared/pieces --part $SLURM_ARRAY_TASK_ID/100'
    trivium prepare sources=crawl pieces=/shared/pieces
"""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from trivium.core.errors import ConfigError
from trivium.core.progress import counted
from trivium.core.world import num_cores
from trivium.stages.prepare import Prepare
from trivium.stages.recipe import single
from trivium.text.cleaning import clean_units, units_of

Data = TypeVar("Data")


@dataclass(frozen=True, slots=True)
class CleanPart:
    """A step of datatrove's pipelines (`pipeline=[CleanPart({...})]`), so its executors for Slurm and Ray run it; used alone as well.

    options: those of `prepare`. num_workers: processes of each part; 0: as many as cores, 1 if others share the machine.
    unit_bytes: see `units_of`.
    """

    options: Mapping[str, Any]
    num_workers: int = 0
    unit_bytes: int = 0

    def __call__(self, data: Data = None, rank: int = 0, world_size: int = 1) -> Data:  # type: ignore[assignment]
        """Clean every `world_size`-th unit, from number `rank` on; data is passed on as it is."""
        self.clean(rank, world_size)
        return data

    def run_part(self, part: str) -> str:
        """The same for `3/100`; returns what was done, in a line. Raises ConfigError."""
        found = re.fullmatch(r"(\d+)/(\d+)", part)
        if not found or int(found[1]) >= int(found[2]):
            raise ConfigError(f"'part' is {part!r}; it is 0/N for the first of N parts, N-1/N for the last, for example 3/100")
        pieces, units = self.clean(int(found[1]), int(found[2]))
        return f"part {part}: {counted(units, 'unit')}, {counted(pieces, 'piece')} in {self.stage.pieces}"

    @property
    def stage(self) -> Prepare:
        """The stage with these options. Raises ConfigError."""
        [stage] = single("prepare", dict(self.options)).stages.values()
        assert isinstance(stage, Prepare)
        return stage

    def clean(self, rank: int, world_size: int) -> tuple[int, int]:
        """(pieces, units) that are there now of this part. Raises ConfigError where options do not go with parts."""
        stage = self.stage
        if not stage.pieces:
            raise ConfigError("pieces is missing; give the folder that all parts share: pieces=FOLDER")
        if stage.max_documents:
            raise ConfigError("max_documents counts over all files, which parts do not know; leave it out")
        stage.check()
        units = units_of(stage.sources, unit_bytes=self.unit_bytes)[rank::world_size]
        workers = self.num_workers or num_cores()
        pieces = clean_units(units, stage.cleaning(), Path(stage.pieces), num_workers=workers, on_note=_tell)
        return len(pieces), len(units)


def _tell(note: str) -> None:
    """There is no run whose log it could be in."""
    sys.stderr.write(f"{note}\n")
