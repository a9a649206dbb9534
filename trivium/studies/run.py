"""Running studies: on the run folders that the user names, or on runs that they make; killed, the same command goes on."""

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import closing
from glob import escape
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, get_args

from trivium.core.commit import commit_file, fingerprint, hash_file
from trivium.core.config import build, merge, plain
from trivium.core.errors import ConfigError, DataError, TriviumError, did_you_mean
from trivium.core.interrupt import Interrupted
from trivium.stages.recipe import ABOVE, Recipe, load_recipe
from trivium.studies.catalogue import STUDIES
from trivium.studies.finding import PAGE, found_before
from trivium.studies.overview import controls_of, overview
from trivium.studies.side_by_side import made
from trivium.studies.study import Preset, Study

ROOT = Path("runs/studies")  # where the runs that studies make lie, next to what was found: studies share them


def run_study(
    name: str, folders: Sequence[Path], options: Mapping[str, Any], out: Path | None, *, preset: str = "laptop", quiet: bool = False
) -> tuple[dict[str, Any], Path]:
    """What a study finds (finding.json), and the page it wrote to OUT/study-NAME/study.html.

    OUT is the first of the folders; without folders, where the study makes its own runs by the preset, runs/studies. options: those of
    the study, and of its recipes by stage. Raises ConfigError for what is unknown.
    """
    study, recipes = _planned(name, folders, options, _preset(preset))
    root = out or (folders[0] if folders else ROOT)
    with closing(made({root / folder: recipe for folder, recipe in recipes.items()}, quiet=quiet)) as runs:
        for _, failure in runs:
            if failure is not None:
                raise failure
    return _answered(study, list(folders) or [root / folder for folder in recipes], root / f"study-{name}")


def run_all(
    folders: Sequence[Path], options: Mapping[str, Any], out: Path | None, *, preset: str = "laptop", quiet: bool = False
) -> tuple[str, Path, Exception | None]:
    """Every study on runs of its own, and one page about all of them, OUT/studies.html; returns the table in words, and the page.

    What is complete is skipped; a study is answered as soon as its runs are there. One that fails, or a run of it, says why, and the
    others go on; what the first of them failed with is returned too. options: seed and the like.
    """
    if folders:
        raise ConfigError(f"{folders[0]}: 'all' makes runs of its own; name one study to look at folders of yours")
    for option in options:
        if option not in ABOVE:
            raise ConfigError(f"unknown option '{option}'{did_you_mean(option, ABOVE)}; only these can be set for all studies at once")
    size, root, found, table = _preset(preset), out or ROOT, dict[str, dict[str, Any]](), ""
    studies = {name: _planned(name, (), options if kind().trials(size) else {}, size) for name, kind in STUDIES.items()}
    recipes = {root / folder: recipe for _, needed in studies.values() for folder, recipe in needed.items()}
    ended, failures = dict[Path, Exception | None](), dict[str, Exception]()
    with closing(made(recipes, quiet=quiet)) as runs:
        for folder, failure in chain([(root, None)], runs):  # first those that need no run
            ended[folder] = failure
            for name, (study, needed) in studies.items():
                own = [root / each for each in needed]
                if name in found or not ended.keys() >= set(own):
                    continue
                found[name], why = _outcome(study, own, [ended[each] for each in own], root / f"study-{name}")
                failures |= {name: why} if why is not None else {}
                table, page = overview([found[name] for name in STUDIES if name in found])
                commit_file(root / "studies.html", page)
    return table, root / "studies.html", next((failures[name] for name in STUDIES if name in failures), None)


def told(
    name: str, folders: Sequence[Path], options: Mapping[str, Any], out: Path | None, *, preset: str, quiet: bool
) -> tuple[str, Exception | None]:
    """What the command line says of a study, or of all: the verdict, its controls, and the page; and what the first failed with."""
    failure = None
    if name == "all":
        said, page, failure = run_all(folders, options, out, preset=preset, quiet=quiet)
    else:
        facts, page = run_study(name, folders, options, out, preset=preset, quiet=quiet)
        said = f"{facts['verdict']}\nverdict: {facts['outcome']}; controls: {controls_of(facts)}"
    return f"{said}\nstudy:  {page}", failure


def about(study: Study) -> dict[str, str]:
    """What was written before running, the rule with the numbers of the options that it names."""
    rule = study.rule.format(**{name: getattr(study, name) for name in _fields(type(study))})
    return {"study": study.name, "claim": study.claim, "question": study.question, "rule": rule, "expected": study.expected}


def _study_of(name: str, options: Mapping[str, Any]) -> tuple[Study, dict[str, Any]]:
    """The study with its own options, and the rest of them."""
    if name not in STUDIES:
        raise ConfigError(f"there is no study '{name}'{did_you_mean(name, [*STUDIES, 'all'])}")
    known = _fields(STUDIES[name])
    for option, value in options.items():
        if option not in known and option not in ABOVE and not isinstance(value, Mapping):  # a stage has options of its own
            raise ConfigError(f"unknown option '{option}'{did_you_mean(option, known)}")
    own = {option: value for option, value in options.items() if option in known}
    return build(STUDIES[name], own), {option: value for option, value in options.items() if option not in own}


def _planned(name: str, folders: Sequence[Path], options: Mapping[str, Any], size: Preset) -> tuple[Study, dict[str, Recipe]]:
    """The study, and the recipes of the runs that it makes by the names of their folders: none where the user names folders."""
    study, below = _study_of(name, options)
    trials = () if folders else study.trials(size)
    if below and not trials:
        unknown = f"unknown option '{next(iter(below))}'{did_you_mean(next(iter(below)), _fields(STUDIES[name]))}"
        raise ConfigError(f"{unknown}; options of stages change the study's own runs, and there are none to make" if folders else unknown)
    return study, {trial.folder: load_recipe(trial.recipe, merge(trial.options, below)) for trial in trials}


def _outcome(
    study: Study, folders: Sequence[Path], failures: Sequence[Exception | None], place: Path
) -> tuple[dict[str, Any], Exception | None]:
    """What a study among others finds, or that there is no answer and why: of its runs the first that failed, or what it raised itself."""
    try:
        for failure in failures:
            if failure is not None:
                raise failure
        return _answered(study, folders, place)[0], None
    except Interrupted:
        raise
    except Exception as error:  # also a defect of ours in one study must not cost the answers of the others; the caller raises it
        why = str(error) if isinstance(error, TriviumError) else f"{type(error).__name__}: {error}"
        return {**about(study), "outcome": "no answer", "verdict": why, "controls": []}, error


def _preset(name: str) -> Preset:
    for preset in get_args(Preset):
        if preset == name:
            return preset
    raise ConfigError(f"preset is '{name}'{did_you_mean(name, get_args(Preset))}")


def _fields(study: type[Any]) -> list[str]:
    return [field.name for field in dataclasses.fields(study)]


def _answered(study: Study, folders: Sequence[Path], place: Path) -> tuple[dict[str, Any], Path]:
    """The finding, from the disk if nothing has changed that it depends on."""
    for folder in folders:
        if not folder.is_dir():
            raise DataError(
                f"{folder}: there is no such folder; a study looks at run folders or model directories, or makes runs of its own"
            )
    identity = fingerprint({
        "study": about(study), "options": plain(study), "version": version("trivium"),
        "inputs": [_content(folder) for folder in folders], "files": [_content(Path(file)) for file in _texts(plain(study))],
    })  # fmt: skip
    facts = found_before(place, identity)
    if facts is None:
        finding = study.find(folders)
        finding.write(place, about(study), identity=identity)
        facts = finding.facts(about(study))
    return facts, place / PAGE


def _content(path: Path) -> dict[str, str]:
    """What tells whether a path holds the same: of a run folder its stages' marks and metrics, of other folders their files, or the file.

    What is neither may be how the names of large files begin (FOLDER/document), of which sizes and times have to do.
    """
    if not path.exists():
        begun = [(file.name, file.stat()) for file in sorted(path.parent.glob(f"{escape(path.name)}*"))]
        return {name: f"{about.st_size} {about.st_mtime_ns}" for name, about in begun}
    marks = [*sorted(path.glob("*/done.json")), *path.glob("metrics.jsonl")]  # of a stage that goes on the metrics alone change
    files = [path] if path.is_file() else marks or sorted(path.glob("*")) if path.is_dir() else []
    return {file.name if file.parent == path else file.parent.name: hash_file(file)[0] for file in files if file.is_file()}


def _texts(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [text for each in value.values() for text in _texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    return [value] if isinstance(value, str) and value else []
