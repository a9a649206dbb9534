"""The command line: names, options, and errors in one line. It loads nothing heavy until the work begins."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from trivium.cli_chat import chat, generate, judge
from trivium.cli_ending import run_app
from trivium.cli_options import (
    WRAPPED,
    Chat,
    DryRun,
    Exact,
    Json,
    Options,
    Out,
    Plugins,
    Quiet,
    Ranks,
    StageName,
    exactly,
    is_launched,
    say_launch,
)
from trivium.cli_plan import plan
from trivium.cli_serve import serve
from trivium.core.errors import ConfigError
from trivium.core.world import world

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Language models end to end: raw text, base, instruction and aligned model, on a laptop or a GPU.",
)

# groups of commands in the help that have no stages, or have more than stages
RUNS, TEXT, MEASURES, MODELS, MACHINE = (
    "Runs", "From text to a base model", "How good it is, and which to ask", "Use of a model", "This machine",
)  # fmt: skip

data = typer.Typer(no_args_is_help=True, help="Look back at what a run was trained on, or write its tokens for others.")
app.add_typer(data, name="data", rich_help_panel=RUNS)

GROUPS = {
    TEXT: {
        "prepare": "raw text to a clean corpus",
        "tokenize": "train a tokenizer, write token shards",
        "pretrain": "a base model from token shards",
    },
    "From a base model to an aligned one": {
        "finetune": "supervised fine-tuning on conversations",
        "annotate": "sample answers and let simulated annotators rank them",
        "reward": "a reward model from rankings or judged steps",
        "reinforce": "PPO, GRPO and others, against reward models and rules",
        "prefer": "DPO, KTO, SimPO and others, on preferences",
        "proxy": "three models as one: base + alpha (expert - anti-expert)",
    },
    "Data that models write": {
        "sample": "answer prompts many times, score the answers, keep what is worth learning from",
        "magpie": "a chat model writes instructions and their answers by itself",
        "self_instruct": "a model that is shown tasks writes more of them",
        "synthesize": "questions with answers out of raw text, for pre-training on both",
        "critique": "answers that a model criticises and revises by the principles of a constitution",
        "feedback": "pairs of answers that a model compares by the principles of a constitution",
        "curate": "choose from conversations that models wrote, by filters",
    },
    "Data whose truth is known, for studies": {
        "demonstrate": "questions and demonstrations from a dictionary",
        "arithmetic": "sums to be done, whose answers can be checked",
        "facts": "made-up people, some of whom a model is told about, for studies",
        "pages": "small texts of facts, and questions that they answer",
        "plant": "something put into a corpus on purpose, for studies",
    },
    MEASURES: {
        "evaluate": "models on tasks, held-out prompts and text",
        "matches": "who was better on which prompt, by our own judge or from files",
        "rank": "Elo and Bradley-Terry from matches, with intervals",
        "route": "routers that learn which model a prompt needs; --router decides",
    },
}
STAGES = {kind: summary for group in GROUPS.values() for kind, summary in group.items()}


@app.command(rich_help_panel=RUNS)
def run(
    recipe: str, options: Options = None, out: Out = None, dry_run: DryRun = False, quiet: Quiet = False, chat_after: Chat = True,
    plugin: Plugins = None, ranks: Ranks = 1, exact: Exact = False,
) -> None:  # fmt: skip
    """Run a recipe: a shipped name or a TOML file. Repeating the command goes on where it was."""
    from trivium.core.config import parse_overrides
    from trivium.stages.recipe import load_recipe

    if not dry_run and is_launched(ranks):
        return
    loaded = load_recipe(recipe, parse_overrides(exactly(options, exact)))
    folder = out or (Path(recipe).parent if Path(recipe).name == "run.toml" else Path("runs") / loaded.name)
    _start(loaded, folder, dry_run, quiet, chat_after, plugin or ())
    if dry_run:
        say_launch(ranks)


@app.command(rich_help_panel=RUNS)
def recipes() -> None:
    """List the recipes that come with trivium."""
    from trivium.core.config import read_toml
    from trivium.stages.recipe import shipped

    for name, path in shipped().items():
        typer.echo(f"{name:<18} {read_toml(path).get('about', '')}")


def _stage_command(kind: str) -> Callable[..., None]:
    def command(
        options: Options = None, out: Out = None, dry_run: DryRun = False, quiet: Quiet = False,
        show_help: Annotated[bool, typer.Option("--help", help="show the options and stop")] = False, plugin: Plugins = None,
    ) -> None:  # fmt: skip
        from trivium.core.config import parse_overrides
        from trivium.stages.recipe import single

        if show_help:
            from trivium.stages.options import describe

            typer.echo(describe(kind, STAGES[kind]))
            return
        recipe = single(kind, parse_overrides(options or []))
        _start(recipe, out or Path("runs") / kind, dry_run, quiet, chat_after=False, plugins=plugin or ())

    return command


for _group, _stages in GROUPS.items():
    for _kind, _summary in _stages.items():
        _command = WRAPPED.get(_kind, lambda command: command)(_stage_command(_kind))
        app.command(_kind, help=_summary, rich_help_panel=_group, context_settings={"help_option_names": []})(_command)


@app.command(rich_help_panel=MEASURES)
def study(
    name: Annotated[str | None, typer.Argument(help="which, or all; without it they are listed")] = None,
    words: Annotated[list[str] | None, typer.Argument(metavar="[FOLDER]... [key=value]...", help="what to look at; options")] = None,
    preset: Annotated[str, typer.Option(help="the size of the runs that it makes: laptop or gpu")] = "laptop",
    out: Out = None, quiet: Quiet = False,
) -> None:  # fmt: skip
    """Ask what the data or the training did: of your own run folders, or of runs that the study makes for it."""
    from trivium.core.config import parse_overrides
    from trivium.studies.run import STUDIES, told

    if name is None:
        for known, asked in STUDIES.items():
            typer.echo(f"{known:<18} {asked.question}")
        return
    folders = [Path(word) for word in words or [] if "=" not in word]
    options = parse_overrides([word for word in words or [] if "=" in word])
    said, failure = told(name, folders, options, out, preset=preset, quiet=quiet)
    typer.echo(said)
    if failure is not None:
        raise failure


@app.command(rich_help_panel=RUNS)
def report(run_folder: Path) -> None:
    """Write report.html of a run folder again."""
    from trivium.report import write_report

    if not run_folder.is_dir():
        raise ConfigError(f"{run_folder}: there is no such run folder")
    if not (run_folder / "manifest.json").is_file():
        raise ConfigError(f"{run_folder}: is no run folder, it has no manifest.json")
    typer.echo(write_report(run_folder))


for _elsewhere, _group in ((plan, RUNS), (judge, MEASURES), (chat, MODELS), (generate, MODELS), (serve, MODELS)):
    app.command(rich_help_panel=_group)(_elsewhere)


@app.command(rich_help_panel=MACHINE)
def fetch(name: Annotated[str | None, typer.Argument(help="asset; without it they are listed")] = None) -> None:
    """Download a named data set by its pinned hash, or list what there is."""
    from trivium.text import assets

    if name is None:
        for asset in assets.ASSETS.values():
            typer.echo(f"{asset.name:<12} {'here' if assets.is_fetched(asset.name) else '-':<5} {asset.licence:<22} {asset.about}")
        return
    path = assets.fetch(name)
    typer.echo(f"{path}  licence: {assets.find(name).licence}")


@app.command(rich_help_panel=TEXT)
def quality(good: str, other: str, out: Path, seed: int = 1) -> None:
    """Train a classifier for `prepare` from GOOD texts and OTHER ones, and say how well it tells them apart."""
    from trivium.text.classifier import save_classifier, train
    from trivium.text.read import check_head, read_documents

    for source in (good, other):
        check_head(source, "documents")
    classifier, held_out = train(read_documents(good), read_documents(other), seed=seed)
    save_classifier(out, classifier, held_out)
    typer.echo(
        f"held out: {held_out.good:.1%} of {held_out.num_good:,} good and {held_out.other:.1%} of {held_out.num_other:,} other texts "
        f'put right, {held_out.accuracy:.1%} on average; use it with filters = [{{ kind = "quality", classifier = "{out}" }}]'
    )


@app.command("import", rich_help_panel=MODELS)
def import_(
    source: str,
    out: Path,
    dtype: Annotated[str, typer.Option(help="f32 or bf16")] = "f32",
    guest: Annotated[bool, typer.Option("--guest", help="let transformers run it, whatever its architecture: slower")] = False,
) -> None:
    """Make a model directory from a .gguf file, a foreign directory, an adapter's, or the named model smollm2."""
    from trivium.stages.use.exchange import import_model

    typer.echo(import_model(source, out, dtype=dtype, is_guest=guest, on_note=_note))


@app.command(rich_help_panel=MODELS)
def export(
    model: Path,
    out: Path,
    to: Annotated[str, typer.Option("--format", help="gguf (llama.cpp) or hf (a directory)")] = "gguf",
    dtype: Annotated[str | None, typer.Option(help="gguf: f16, q8_0 or f32; hf: f32 or bf16")] = None,
) -> None:
    """Write a model, or an adapter with its base in one, for llama.cpp, or as a directory in another precision."""
    from trivium.stages.use.chat import model_folder
    from trivium.stages.use.exchange import export_model

    typer.echo(export_model(model_folder(model), out, to=to, dtype=dtype, on_note=_note))


@data.command()
def show(
    run_folder: Path, step: Annotated[int, typer.Option(help="as in metrics.jsonl, from 1")],
    row: Annotated[int | None, typer.Option(help="only this row of it, from 0")] = None, stage: StageName = "", as_json: Json = False,
) -> None:  # fmt: skip
    """What a step was trained on: documents, sources, offsets and text."""
    _say(_trace(run_folder, stage).show(step, row), as_json)


@data.command()
def where(
    run_folder: Path, doc: Annotated[str, typer.Option(help="the id of a document")], stage: StageName = "", as_json: Json = False
) -> None:
    """All steps so far that saw a document."""
    _say(_trace(run_folder, stage).where(doc), as_json)


@data.command()
def grep(
    run_folder: Path, term: str, steps: Annotated[str, typer.Option(help="from:to, both included; default: all so far")] = "",
    exact: Annotated[bool, typer.Option("--exact", help="as a word or number of its own")] = False,
    stage: StageName = "", as_json: Json = False,
) -> None:  # fmt: skip
    """The steps and rows whose text has a term."""
    opened = _trace(run_folder, stage)
    _say(opened.grep(term, *opened.range_of(steps), is_exact=exact), as_json, nothing=f"no row has {term!r}")


@data.command()
def verify(run_folder: Path, stage: StageName = "", as_json: Json = False) -> None:
    """Compute again what every step was trained on and compare it with what was logged; exit code 4 if it differs."""
    _say([_trace(run_folder, stage).verify()], as_json)


@data.command()
def trace(
    run_folder: Path, text: str, shortest: Annotated[int, typer.Option(help="tokens of the shortest phrase to report")] = 6,
    stage: StageName = "", as_json: Json = False,
) -> None:  # fmt: skip
    """Which training documents contain what a model said: the longest phrases, how often, and at which steps they were seen."""
    found = _trace(run_folder, stage).trace(text, shortest=shortest)
    _say(found, as_json, nothing=f"no phrase of {shortest} tokens is in the training text")


@data.command("clean")
def clean_data(options: Options = None, part: Annotated[str, typer.Option(help="which of how many: 0/100 to 99/100")] = "0/1") -> None:
    """Do a part of `prepare` with the same options, in the folder pieces=FOLDER; on any number of machines at once."""
    from trivium.core.config import parse_overrides
    from trivium.stages.parts import CleanPart

    typer.echo(CleanPart(parse_overrides(options or [])).run_part(part))


@data.command("export")
def export_data(
    shard: Annotated[Path, typer.Argument(help="a token shard, or the folder that tokenize made")],
    out: Annotated[Path, typer.Argument(help="a new folder")],
    to: Annotated[str, typer.Option("--format", help="nanogpt, llm.c (modded-nanogpt), olmo, hf (datasets) or jsonl")],
) -> None:
    """Write token shards as other trainers read them."""
    from trivium.text.shard_formats import export_tokens

    for file in export_tokens(shard, out, to):
        typer.echo(file)


@app.command(rich_help_panel=MACHINE)
def doctor() -> None:
    """What this machine is, what it is fast at, and whether its numbers can be trusted."""
    from trivium.stages.use.doctor import examine

    for line in examine():
        typer.echo(line)


def _note(note: str) -> None:
    typer.echo(f"note: {note}", err=True)


def _trace(run_folder: Path, stage: str) -> Any:
    from trivium.stages.use.tracing import Trace

    return Trace.open(run_folder, stage)


def _say(found: Iterable[Any], as_json: bool, *, nothing: str = "") -> None:
    """Print what was found as it is found; for people also that it was nothing."""
    from trivium.core.config import plain

    count = 0
    for count, record in enumerate(found, start=1):  # noqa: B007
        typer.echo(json.dumps(plain(record), ensure_ascii=False) if as_json else str(record))
    if not count and not as_json:
        typer.echo(nothing)


def _start(recipe: Any, folder: Path, dry_run: bool, quiet: bool, chat_after: bool, plugins: Sequence[Path]) -> None:
    """Check, then plan or run a recipe; at the end open the chat, or say how."""
    from trivium.stages.pipeline import check, execute

    check(recipe, plugins)
    if dry_run:
        from trivium.stages.planning.plan import plan as plan_here

        typer.echo(plan_here(recipe))
        return
    page = execute(recipe, folder, quiet=quiet, plugins=plugins)
    if not world().is_main:
        return
    typer.echo(f"report: {page}")
    from trivium.stages.use.chat import best_model

    model = best_model(folder)
    if model is None:
        return
    if chat_after and sys.stdin.isatty() and sys.stdout.isatty():
        chat([str(model)], seed=recipe.seed)
    else:
        typer.echo(f"chat:   trivium chat {model}")


def main() -> None:
    """Run the command line; every expected failure is one line and a typed exit code."""
    run_app(app)


if __name__ == "__main__":
    main()
