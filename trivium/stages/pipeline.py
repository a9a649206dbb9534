"""Many stages from one recipe, in one run folder; what is complete and unchanged is skipped."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

from trivium.core.commit import commit_file, fingerprint, hash_file
from trivium.core.config import build, plain, read_toml
from trivium.core.errors import ArtefactError, ConfigError
from trivium.core.follower import Follower
from trivium.core.run import Run
from trivium.core.world import load, machine as describe_machine, world
from trivium.evals.task import sources_of
from trivium.nn.io.adapter_config import base_of, is_adapter
from trivium.nn.io.proxy_json import is_proxy, read_proxy
from trivium.report import write_report
from trivium.stages.base import references
from trivium.stages.catalogue import RANKED
from trivium.stages.corpus import is_published
from trivium.stages.kept_answers import with_kept
from trivium.stages.machine import Machine
from trivium.stages.plugins import allowed_plugins, hashes_of
from trivium.stages.recipe import Recipe, load_recipe, recipe_toml
from trivium.stages.reinforce import Reinforce
from trivium.stages.settle import settle
from trivium.text.hub import is_hub
from trivium.text.read import files_of
from trivium.train.mesh import arranged

# options whose values are read: their content is part of what a stage's result depends on
INPUTS = {"sources", "decontaminate", "corpus", "tokenizer", "tokens", "dictionary", "data", "heldout", "truth", "prompts", "scored"}
INPUTS |= {"model", "models", "compare", "reward_model", "reference", "teacher", "demonstrations", "normalise", "reviser", "helpful"}
INPUTS |= {"base", "expert", "anti_expert"}  # of a proxy
INPUTS |= {"constitution", "seeds"}
INPUTS |= {"blocklist", "words", "classifier"}  # of filters
TEXT_STAGES = {"prepare", "plant", "tokenize", "matches", "rank"}  # they do not depend on how the machine computes, so it is not measured
T = TypeVar("T")
PACKAGES = ("trivium", "torch", "numpy", "tokenizers", "safetensors", "pyarrow")


def check(recipe: Recipe, plugins: Sequence[Path] = ()) -> dict[str, str]:
    """What can be found wrong before anything is loaded or written. plugins: files of the user that may run; returns their hashes."""
    hashes = allowed_plugins(recipe, plugins)
    for stage in recipe.stages.values():
        stage.check()
        if isinstance(stage, Reinforce):
            stage.check_sampler(recipe.machine)
    return hashes


def execute(recipe: Recipe, out: Path, *, quiet: bool = False, plugins: Sequence[Path] = ()) -> Path:
    """Run every stage of a recipe in the folder `out` and write its report; returns the report's path. plugins: files that may run.

    The same call after a kill goes on where it was, with the same bits.
    """
    hashes = check(recipe, plugins)
    if any(stage.kind in RANKED for stage in recipe.stages.values()):
        found = recipe.parallel.sizes(world().size)  # before the stages that come first have spent hours
        if recipe.machine.exact:
            found.check_exact()
    with _joined(), arranged(recipe.parallel), _opened(recipe, out, quiet) as run:
        run.plugins = hashes
        recipe = _begun(recipe, out, run)
        run.machine = plain(recipe.machine)
        for name, stage in recipe.stages.items():
            if not _heard(run.begin(name, _identity(run, recipe, plain(stage))) if run.is_main else None):
                run.log(f"{name}: complete, nothing to do")
                continue
            if not run.is_main:
                run.begin(name, {})
            started = time.perf_counter()
            facts = stage.run(run) if run.is_main or stage.kind in RANKED else {}
            run.finish({**facts, "seconds": round(time.perf_counter() - started, 2)})
        if run.is_main:
            _gather_results(run, recipe)
        page = write_report(out) if run.is_main else out
        _heard(None)  # nobody leaves before rank 0 is ready
        return page


def _joined() -> AbstractContextManager[None]:
    """Other processes of this run, if there are any."""
    here = world()
    if here.size == 1:
        return nullcontext()
    load("torch")
    from trivium.train.ranks import joined

    return joined(here)


def _opened(recipe: Recipe, out: Path, quiet: bool) -> Run:
    """The run folder, for its owner, or for a rank that follows."""
    return (Run if world().is_main else Follower)(
        out, seed=recipe.seed, quiet=quiet or not world().is_main, save_every_s=recipe.save_every_s
    )


def _heard(value: T) -> T:
    """What rank 0 says; torch is loaded only where there are others to hear it."""
    if world().size == 1:
        return value
    from trivium.train.ranks import heard

    return heard(value)


def _begun(recipe: Recipe, out: Path, run: Run) -> Recipe:
    """The recipe with nothing left open: rank 0 settles and writes it, the others read what it wrote."""
    computes = any(stage.kind not in TEXT_STAGES for stage in recipe.stages.values())
    if run.is_main:
        machine = _machine(recipe, out, run) if computes else _kept_machine(recipe, out)
        recipe, derived = settle(replace(recipe, machine=machine))
        for line in derived:
            run.log(line)
        run.machine = plain(recipe.machine)
        commit_file(out / "run.toml", recipe_toml(recipe))
        _write_manifest(run, recipe)
        _heard(None)
        return recipe
    _heard(None)
    recipe = load_recipe(str(out / "run.toml"), {})
    return replace(recipe, machine=recipe.machine.measured()) if computes else recipe


def _machine(recipe: Recipe, out: Path, run: Run) -> Machine:
    """The machine settings of the folder's earlier start, else measured now: what was chosen once must not change the bits."""
    kept = stored_machine(out / "run.toml")
    if kept.answers(recipe.machine):
        return kept.measured()  # sets the threads; its ceiling is not measured again
    measured = recipe.machine.measured()
    run.log(str(measured))
    if (recipe.machine.kernels, measured.kernels, measured.precision, measured.device) == ("auto", "torch", "float32", "cpu"):
        from trivium.nn.native.library import why_not

        run.log(f"no native kernels, which is slower: {why_not()}")
    return measured


def _kept_machine(recipe: Recipe, out: Path) -> Machine:
    """What the folder's earlier start chose, if it goes with the recipe; nothing is measured."""
    kept = stored_machine(out / "run.toml")
    return kept if kept.answers(recipe.machine) else recipe.machine


def stored_machine(path: Path) -> Machine:
    """The machine settings in a folder's run.toml; open ones if there is none."""
    if not path.exists():
        return Machine()
    try:
        return build(Machine, read_toml(path).get("machine", {}), where=str(path))
    except ConfigError as error:
        raise ArtefactError(f"{error}; delete this file, and the same command writes it again") from None


def _identity(run: Run, recipe: Recipe, options: Mapping[str, Any]) -> dict[str, Any]:
    """What a stage's result depends on: its options, the seed, how the machine computes, and the content it reads."""
    inputs = {}
    for reference in references(options):
        name = reference[1:].split("/")[0]
        done = run.done(name)
        if not done:
            raise ArtefactError(f"{reference}: stage {name} is not complete")
        inputs[name] = fingerprint(done["outputs"])
    for value in _sources(options):
        if not value.startswith("@"):
            inputs[value] = _content(value)
    inputs |= hashes_of(options, run.plugins)
    how = {} if options["kind"] in TEXT_STAGES else plain(recipe.machine)
    plainly = {"ceiling": how.get("ceiling"), "exact": False}  # what changes no bits, or is as it was before there was such an option
    computing = {name: value for name, value in how.items() if name not in plainly or value != plainly[name]}
    return with_kept({"options": dict(options), "seed": recipe.seed, "machine": computing, "inputs": inputs})


def _content(source: str) -> Any:
    """Hashes of the files behind a path, a folder or a pattern; an asset is pinned by its name.

    An adapter is nothing without its base, and a proxy nothing without its three models.
    """
    path = Path(source)
    if is_hub(source):
        return {}  # pinned by its revision, if the user gave one
    if is_published(path):
        return hash_file(Path(f"{path}.idx"))[0]  # of rows that fill half a terabyte; their number and length
    if path.is_file():
        return hash_file(path)[0]
    if is_adapter(path):
        return [{file.name: hash_file(file)[0] for file in sorted(path.iterdir()) if file.is_file()}, _content(str(base_of(path)))]
    if is_proxy(path):
        return [plain(read_proxy(path)), *map(_content, read_proxy(path).parts.values())]
    files = path.rglob("*") if path.is_dir() else files_of(source) if any(letter in source for letter in "*?[") else []
    return {file.as_posix(): hash_file(file)[0] for file in sorted(files) if file.is_file()}


def _sources(options: Mapping[str, Any]) -> list[str]:
    """The values of the options that name files, models or data; those of filters, of the texts of a mixture, of judges among them."""
    tables = [*(options.get("mix") or {}).values()]
    tables += [one for name in ("filters", "routers") for one in options.get(name, []) if isinstance(one, Mapping)]
    tables += [options[name] for name in ("select", "guard", "replay") if isinstance(options.get(name), Mapping)]
    asking = [*options.get("rewards", []), *([options["judge"]] if isinstance(options.get("judge"), Mapping) else [])]
    tables += [one for one in asking if one["kind"] in ("model_judge", "model")]
    below = [text for table in tables for text in _sources(table)]
    named = [value for name, value in options.items() if name in INPUTS]
    texts = [
        text
        for value in named
        for text in (value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else [value])
    ]
    asked = [source for reference in options.get("tasks", ()) for source in sources_of(reference)]
    return [text for text in texts if isinstance(text, str) and text] + below + asked


def _write_manifest(run: Run, recipe: Recipe) -> None:
    versions = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    facts = {
        "name": recipe.name,
        "about": recipe.about,
        "seed": recipe.seed,
        "versions": versions,
        "plugins": {file: digest for stage in recipe.stages.values() for file, digest in hashes_of(plain(stage), run.plugins).items()},
        "machine": {**describe_machine(), **plain(recipe.machine)},
    }
    commit_file(run.path / "manifest.json", json.dumps(facts, indent=1))


def _gather_results(run: Run, recipe: Recipe) -> None:
    """One held-out table of the whole run, with the seconds that each stage took."""
    table = []
    for name in recipe.stages:
        file = run.path / name / "results.json"
        if file.exists():
            seconds = run.done(name).get("facts", {}).get("seconds")
            table += [{**row, "seconds": seconds} for row in json.loads(file.read_text())]
    commit_file(run.path / "results.json", json.dumps(table, indent=1))
