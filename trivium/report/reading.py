"""What a run folder holds, read once: files that are not there are empty, files that are damaged are errors that name them."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from trivium.core.errors import ArtefactError
from trivium.core.run import DIGEST, DONE, METRICS, SPEED, STARTED
from trivium.report.html import Html, join, muted

CALIBRATION, RANKING, ROUTING, TASKS = "calibration.json", "ranking.json", "routing.json", "tasks.json"
FUNNEL, SELECTION, WRITTEN = "funnel.json", "selection.json", "written.json"
_USUAL_ORDER = ("prepare", "tokenize", "pretrain", "finetune", "sample", "reward", "prefer", "reinforce", "synthesize", "evaluate")

Series = list[tuple[float, float]]  # (step, value)


@dataclass(frozen=True, slots=True)
class Result:
    """One held-out measurement; low and high are the ends of its 95 % interval."""

    stage: str
    measure: str
    value: float | None
    low: float | None
    high: float | None
    n: float | None


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer of one model."""

    stage: str
    prompt: str
    response: str
    score: float | None
    has_stopped: bool | None


@dataclass(frozen=True, slots=True)
class Record:
    """Everything the report is made from. Mappings are by stage, `left` by file before; `stages` is the order in which they ran."""

    folder: Path
    recipe: str
    manifest: Mapping[str, Any]
    stages: tuple[str, ...]
    curves: Mapping[str, Mapping[str, Series]]
    speed: Mapping[str, list[Mapping[str, float | None]]]
    facts: Mapping[str, Mapping[str, Any]]
    results: tuple[Result, ...]
    left: Mapping[str, Mapping[str, Mapping[str, Any]]]
    calibrations: Mapping[str, list[Mapping[str, Any]]]
    samples: tuple[Sample, ...]

    @property
    def name(self) -> str:
        """The name of the run folder."""
        return self.folder.resolve().name


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of metrics.jsonl or speed.jsonl; `offset` is where it begins, in bytes."""

    stage: str
    step: float
    offset: int
    numbers: Mapping[str, float | None]


def read_record(folder: Path) -> Record:
    """Read a run folder. Raises ArtefactError if there is no such folder, or naming the file (and line) that is damaged."""
    if not folder.is_dir():
        raise ArtefactError(f"{folder}: there is no such run folder")
    starts = {stage: _start(value) for stage, value in _of_stages(folder, STARTED).items()}
    rows = [row for row in _rows(folder / METRICS) if row.offset >= starts.get(row.stage, 0)]
    speed: dict[str, list[Mapping[str, float | None]]] = {}
    for row in _rows(folder / SPEED):
        speed.setdefault(row.stage, []).append(row.numbers)
    done = _tables(folder, DONE)
    return Record(
        folder=folder,
        recipe=_text(folder / "run.toml"),
        manifest=_expect(dict, _json(folder / "manifest.json") or {}, folder / "manifest.json"),
        stages=_order(done, [row.stage for row in rows]),
        curves=_curves(rows),
        speed=speed,
        facts={stage: table_of(value.get("facts")) for stage, value in done.items()},
        results=tuple(_results(folder / "results.json")),
        left={name: _tables(folder, name) for name in (FUNNEL, SELECTION, WRITTEN, RANKING, ROUTING, TASKS)},
        calibrations={stage: _bins(folder / stage / CALIBRATION, value) for stage, value in _of_stages(folder, CALIBRATION).items()},
        samples=tuple(
            chain(*(_samples(folder / stage / "samples.json", value) for stage, value in _of_stages(folder, "samples.json").items()))
        ),
    )


def of_stages(record: Record, name: str, draw: Callable[[str, Mapping[str, Any]], Html]) -> Html:
    """What every stage left in a file of this name, drawn one below the other; a line that says so where none did."""
    found = record.left[name]
    return join(draw(stage, table) for stage, table in found.items()) if found else muted(f"Left out: no stage of this run left a {name}.")


def number_of(value: Any) -> float | None:
    """A JSON value as a number, or None if it is not one; integers too large for a float become infinite."""
    if not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def table_of(value: Any) -> Mapping[str, Any]:
    """A JSON value as an object; empty if it is not one."""
    return value if isinstance(value, dict) else {}


def list_of(value: Any) -> list[Any]:
    """A JSON value as a list; empty if it is not one."""
    return value if isinstance(value, list) else []


def _rows(path: Path) -> Iterator[_Row]:
    offset = 0
    for place, line in enumerate(_bytes(path).splitlines(keepends=True), start=1):
        if line.strip():
            yield _row(line, offset, f"{path} line {place}")
        offset += len(line)


def _row(line: bytes, offset: int, where: str) -> _Row:
    row = _expect(dict, _parse(line, where), where)
    found = ", ".join(row) or "nothing"
    stage, step = row.pop("stage", None), number_of(row.pop("step", None))
    if not isinstance(stage, str) or step is None or not math.isfinite(step):
        raise ArtefactError(f"{where}: a row needs a 'stage' (text) and a 'step' (number); found: {found}")
    row.pop(DIGEST, None)  # a name for the data of the step, and no number
    for name, value in row.items():
        if value is not None and number_of(value) is None:
            raise ArtefactError(f"{where}: '{name}' is {value!r}, not a number")
    return _Row(stage, step, offset, {name: number_of(value) for name, value in row.items()})


def _curves(rows: list[_Row]) -> dict[str, dict[str, Series]]:
    """Series by stage and metric, in order of steps; of two values at one step the later one counts."""
    gathered: dict[str, dict[str, dict[float, float]]] = {}
    for row in rows:
        for name, value in row.numbers.items():
            gathered.setdefault(row.stage, {}).setdefault(name, {})[row.step] = math.nan if value is None else value
    return {stage: {name: sorted(by_step.items()) for name, by_step in series.items()} for stage, series in gathered.items()}


def _start(started: Any) -> float:
    """Where a stage's rows begin; rows before it are of an earlier attempt with other options."""
    return number_of(table_of(started).get("metrics_offset")) or 0


def _order(done: Mapping[str, Mapping[str, Any]], in_metrics: list[str]) -> tuple[str, ...]:
    """Complete stages by where their metrics end, then those that are under way."""

    def place(stage: str) -> tuple[float, int, str]:
        usual = _USUAL_ORDER.index(stage) if stage in _USUAL_ORDER else len(_USUAL_ORDER)
        return number_of(done[stage].get("metrics_end")) or 0, usual, stage

    return tuple(dict.fromkeys([*sorted(done, key=place), *in_metrics]))


def _results(path: Path) -> Iterator[Result]:
    for place, row in enumerate(_expect(list, _json(path) or [], path), start=1):
        where = f"{path} entry {place}"
        stage, measure = (_named(row, name, where) for name in ("stage", "measure"))
        yield Result(stage, measure, *(number_of(row.get(name)) for name in ("value", "low", "high", "n")))


def _bins(path: Path, value: Any) -> list[Mapping[str, Any]]:
    return [_expect(dict, row, f"{path} entry {place}") for place, row in enumerate(_expect(list, value, path), start=1)]


def _samples(path: Path, value: Any) -> Iterator[Sample]:
    for place, row in enumerate(_expect(list, value, path), start=1):
        stage, prompt, response = (_named(row, name, f"{path} entry {place}") for name in ("stage", "prompt", "response"))
        stopped = row.get("stopped")
        yield Sample(stage, prompt, response, number_of(row.get("score")), stopped if isinstance(stopped, bool) else None)


def _named(row: Any, name: str, where: str) -> str:
    value = _expect(dict, row, where).get(name)
    if not isinstance(value, str):
        raise ArtefactError(f"{where}: '{name}' is missing or not text (found: {', '.join(row)})")
    return value


def _of_stages(folder: Path, name: str) -> dict[str, Any]:
    """The content of STAGE/name for every stage that has one."""
    files = {path.parent.name: path for path in sorted(folder.glob(f"*/{name}"))}
    usual = [stage for stage in _USUAL_ORDER if stage in files]
    return {stage: _json(files[stage]) for stage in dict.fromkeys([*usual, *files])}


def _tables(folder: Path, name: str) -> dict[str, Mapping[str, Any]]:
    return {stage: _expect(dict, value, folder / stage / name) for stage, value in _of_stages(folder, name).items()}


def _json(path: Path) -> Any:
    content = _bytes(path)
    return _parse(content, str(path)) if content else None


def _parse(content: bytes, where: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ArtefactError(f"{where}: damaged, not readable as JSON ({error})") from None


def _expect(kind: type, value: Any, where: Path | str) -> Any:
    if not isinstance(value, kind):
        raise ArtefactError(f"{where}: damaged, holds a {type(value).__name__} where a {kind.__name__} belongs")
    return value


def _text(path: Path) -> str:
    return _bytes(path).decode(errors="replace")


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""
