"""The run folder: one owner, one log, one metrics file, and the record of which stages are complete.

    runs/NAME/run.toml  manifest.json  metrics.jsonl  speed.jsonl  log.txt  results.json  report.html  STAGE/...

metrics.jsonl holds only what is a function of (recipe, step); wall-clock figures go to speed.jsonl. So a run that was
killed and continued ends with the same bytes in metrics.jsonl as one that was not.
"""

import fcntl
import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console

from trivium.core.commit import commit_file, discard, disk_errors, fingerprint, hash_file, make_folder, sealed, sync_folder
from trivium.core.errors import ArtefactError, LockedError, ResourceError
from trivium.core.progress import Progress

METRICS, SPEED, LOG, LOCK, DONE, STARTED = "metrics.jsonl", "speed.jsonl", "log.txt", ".lock", "done.json", "started.json"
CHECKPOINTS = "checkpoints"
DIGEST = "data_xxh3"  # of a row of metrics.jsonl: the hash of the tokens that the step was trained on (data/digest.py)


class Run:
    """The owner of a run folder; use as a context manager.

    Raises LockedError if another process owns it, ResourceError if it cannot be written.
    """

    is_main = True  # whether this process writes; the ranks above 0 do not (core/follower.py)

    def __init__(
        self, path: Path, *, seed: int = 1, quiet: bool = False, machine: Mapping[str, Any] | None = None, save_every_s: float = 60.0
    ) -> None:  # fmt: skip
        self.path, self.seed, self.save_every_s, self.stage = Path(path), seed, save_every_s, ""
        self.mark = ""  # fingerprint of what the result of the stage that is running depends on
        self.machine = dict(machine or {})
        self.plugins: dict[str, str] = {}  # Python files of the user's that may run: absolute path -> sha256
        self._said: set[str] = set()
        self._console = Console(file=sys.stderr, quiet=quiet, highlight=False, soft_wrap=True)

    def __enter__(self) -> "Run":
        with disk_errors(self.path):
            make_folder(self.path)
            self._lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._lock, 32).decode(errors="replace").strip()
            os.close(self._lock)
            raise LockedError(
                f"{self.path}: process {holder or 'unknown'} is running in this folder; wait for it, or choose another with --out FOLDER"
            ) from None
        with disk_errors(self.path):
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, str(os.getpid()).encode(), 0)
            self._metrics, self._speed, self._log = (open(self.path / name, "ab") for name in (METRICS, SPEED, LOG))  # noqa: SIM115
            sync_folder(self.path)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for file in (self._metrics, self._speed, self._log):
            with suppress(OSError):  # a full disk was reported when the row was written; close() meets it again
                file.close()
        os.close(self._lock)

    @property
    def folder(self) -> Path:
        """The folder of the stage that is running."""
        return self.path / self.stage

    def progress(self, total: int, label: str = "") -> Progress:
        """A progress line of the stage, or of what `label` says, for so many units; silent in a quiet run."""
        return Progress(label or self.stage, total, quiet=self._console.quiet)

    # --- what is written while a stage runs

    def log(self, message: str) -> None:
        """Say one line to the user and to log.txt."""
        self._console.print(message, markup=False)
        self._append(self._log, f"{time.strftime('%Y-%m-%d %H:%M:%S')} {self.stage or '-'}: {message}")

    def log_once(self, message: str) -> None:
        """The same, unless the line was said before: what holds for several models or stages of a run is said for the first of them."""
        if message not in self._said:
            self._said.add(message)
            self.log(message)

    def record(self, step: int, metrics: Mapping[str, float], *, digest: str = "") -> None:
        """Append one row of numbers that depend on nothing but the recipe and the step; digest: of the tokens that it was trained on."""
        trained_on = {DIGEST: digest} if digest else {}
        self._append(self._metrics, json.dumps({"stage": self.stage, "step": step, **trained_on, **metrics}))

    def record_speed(self, step: int, figures: Mapping[str, float]) -> None:
        """Append one row of wall-clock figures."""
        self._append(self._speed, json.dumps({"stage": self.stage, "step": step, **figures}))

    def leave(self, name: str, content: Any) -> None:
        """Leave a file of JSON in the folder of the stage, whole or not at all."""
        commit_file(self.folder / name, json.dumps(content, indent=1, ensure_ascii=False))

    def metrics_offset(self) -> int:
        """Make the metrics durable and return how many bytes there are; a checkpoint stores this."""
        with disk_errors(self.path):
            self._metrics.flush()
            os.fsync(self._metrics.fileno())
        return self._metrics.seek(0, os.SEEK_END)

    def rewind_metrics(self, offset: int) -> None:
        """Forget the rows after a checkpoint: the steps that follow write them again."""
        self._metrics.flush()
        if self._metrics.seek(0, os.SEEK_END) < offset:
            raise ArtefactError(f"{self.path / METRICS}: is shorter than its checkpoint says. Delete {self.folder} to run this stage again")
        self._metrics.truncate(offset)

    def _append(self, file: Any, line: str) -> None:
        with disk_errors(self.path):
            file.write(line.encode() + b"\n")
            file.flush()

    # --- which stages are complete

    def begin(self, stage: str, identity: Mapping[str, Any]) -> bool:
        """Enter a stage; False if it is complete for this identity (options and input hashes), so there is nothing to do.

        A folder that was made with another identity is removed, and said so.
        """
        self.stage = stage
        self.mark = mark = fingerprint(identity)
        self._refuse_foreign_folder()
        try:
            done, started = _read_mark(self.folder / DONE), _read_mark(self.folder / STARTED)
            if done.get("fingerprint") == mark:
                self._check_outputs(done["outputs"])
                discard(self.folder / CHECKPOINTS)  # a kill may have come between the mark and this
                return False
            if started and not done and not self._rows_are_mine(started["metrics_offset"]):
                raise ArtefactError(f"{self.folder / DONE}: missing, though later stages have run")
        except ArtefactError as error:
            self.log(f"{error}; running stage {stage} again")
            discard(self.folder)
            started = {}
        if started and started["fingerprint"] != mark:
            self.log(f"{stage}: options or inputs changed, starting it again")
            discard(self.folder)
            started = {}
        if not started:
            started = sealed({"fingerprint": mark, "metrics_offset": self.metrics_offset()})
            commit_file(self.folder / STARTED, json.dumps(started))
        self.metrics_start = int(started["metrics_offset"])
        return True

    def finish(self, facts: Mapping[str, Any]) -> None:
        """Mark the stage complete, with the sha256 of every file it leaves and `facts` for those who come after.

        Its checkpoints go then, not before: a kill in between costs nothing.
        """
        outputs = {path.relative_to(self.folder).as_posix(): hash_file(path)[1] for path in self._outputs()}
        started = _read_mark(self.folder / STARTED)
        done = {"fingerprint": started["fingerprint"], "metrics_end": self.metrics_offset(), "outputs": outputs, "facts": dict(facts)}
        commit_file(self.folder / DONE, json.dumps(sealed(done), indent=1, sort_keys=True))
        discard(self.folder / CHECKPOINTS)

    def done(self, stage: str) -> dict[str, Any]:
        """What `finish` wrote for a stage; empty if it is not complete. Raises ArtefactError if that is damaged."""
        return _read_mark(self.path / stage / DONE)

    def _refuse_foreign_folder(self) -> None:
        """A folder that no run made is never adopted, because what a run owns it may remove."""
        is_ours = (self.folder / DONE).exists() or (self.folder / STARTED).exists()
        if self.folder.is_dir() and not is_ours and any(self.folder.iterdir()):
            raise ResourceError(f"{self.folder}: is there and was not made by a run; move it away, or choose another folder with --out")

    def _check_outputs(self, outputs: Mapping[str, str]) -> None:
        for name, digest in outputs.items():
            file = self.folder / name
            if not file.is_file() or hash_file(file)[1] != digest:
                raise ArtefactError(f"{file}: {'changed on disk' if file.is_file() else 'missing'}")

    def _rows_are_mine(self, offset: int) -> bool:
        """Whether all metrics from `offset` on are rows of this stage, so that it may take them back."""
        beginning = json.dumps({"stage": self.stage})[:-1].encode()
        rows = (self.path / METRICS).read_bytes()[offset:].splitlines(keepends=True)
        return all(row.startswith(beginning) or not row.endswith(b"\n") for row in rows)

    def _outputs(self) -> list[Path]:
        """Every file of the stage but its checkpoints and marks."""
        files = [path for path in self.folder.rglob("*") if path.is_file() and path.name not in (STARTED, DONE)]
        parts = {path: path.relative_to(self.folder).parts for path in files}
        return sorted(path for path in files if CHECKPOINTS not in parts[path] and not any(part.startswith(".") for part in parts[path]))


def read_digests(path: Path, stage: str) -> dict[int, str]:
    """What a run folder says each step of a stage was trained on, by step from 1; "" where it does not say. Of two rows the later counts.

    Rows of earlier attempts with other options are left out. Raises ArtefactError naming a line that is damaged.
    """
    content = (path / METRICS).read_bytes() if (path / METRICS).is_file() else b""
    start = int(_read_mark(path / stage / STARTED).get("metrics_offset", 0))
    digests: dict[int, str] = {}
    for number, line in enumerate(content[start:].splitlines(keepends=True), start=content[:start].count(b"\n") + 1):
        if not line.endswith(b"\n"):
            break  # a kill came while it was written
        try:
            row = json.loads(line)
            if row["stage"] == stage:
                digests[int(row["step"])] = str(row.get(DIGEST, ""))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ArtefactError(f"{path / METRICS} line {number}: damaged") from None
    return digests


def _read_mark(path: Path) -> dict[str, Any]:
    """A sealed object; empty if there is no such file. Raises ArtefactError if it is damaged."""
    try:
        mark = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except ValueError:
        mark = None
    if not isinstance(mark, dict) or mark != sealed(mark):
        raise ArtefactError(f"{path}: damaged")
    return mark
