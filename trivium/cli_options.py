"""Options that commands share, and the stages whose command does something besides running."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from trivium.core.errors import ConfigError
from trivium.core.launch import launch, lines
from trivium.core.world import world

Command = Callable[..., None]

Options = Annotated[list[str] | None, typer.Argument(metavar="[key=value]...", help="options, for example steps=100 optimizer.lr=1e-3")]
Out = Annotated[Path | None, typer.Option("--out", help="run folder (default: runs/NAME)")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="print the plan: parameters, FLOPs, memory, tokens, time; run nothing")]
Quiet = Annotated[bool, typer.Option("--quiet", help="say only errors")]
Json = Annotated[bool, typer.Option("--json", help="JSON lines, for programs")]
StageName = Annotated[str, typer.Option("--stage", help="which, if several stages of the run are pre-training")]
Plugins = Annotated[list[Path] | None, typer.Option("--plugin", help="let this Python file, which the recipe names, run as a reward")]
Ranks = Annotated[int, typer.Option("--ranks", min=1, max=1024, help="processes on this host that train together (docs/many-ranks.md)")]
Exact = Annotated[bool, typer.Option("--exact", help="the same bits with 1, 2 or 4 ranks; slower")]
Chat = Annotated[bool, typer.Option("--chat/--no-chat", help="open a chat at the end if this is a terminal")]


def is_launched(ranks: int) -> bool:
    """Start this command as several ranks, and wait for them; False if that is not asked for, or this is one of them."""
    if ranks == 1 or world().size > 1:
        return False
    launch(sys.argv[1:], ranks)
    return True


def exactly(options: list[str] | None, exact: bool) -> list[str]:
    """The options of a command line with what --exact stands for."""
    return [*(options or []), *(["machine.exact=true"] if exact else [])]


def with_ranks(command: Command) -> Command:
    """A stage that several ranks train together."""

    def ranked(
        options: Options = None, out: Out = None, dry_run: DryRun = False, quiet: Quiet = False,
        show_help: Annotated[bool, typer.Option("--help", help="show the options and stop")] = False, plugin: Plugins = None,
        ranks: Ranks = 1, exact: Exact = False,
    ) -> None:  # fmt: skip
        if show_help or dry_run or not is_launched(ranks):
            command(exactly(options, exact), out, dry_run, quiet, show_help, plugin)
        if dry_run:
            say_launch(ranks)

    return ranked


def say_launch(ranks: int) -> None:
    """The lines for torchrun and Slurm, where more than one rank is asked for."""
    if ranks > 1:
        for line in lines([word for word in sys.argv[1:] if word != "--dry-run"], ranks):
            typer.echo(f"launch: {line}")


def with_plan(command: Command) -> Command:
    """`prepare --plan N`: what so many tokens take, instead of a run."""

    def planned(
        options: Options = None, out: Out = None, dry_run: DryRun = False, quiet: Quiet = False,
        plan: Annotated[float | None, typer.Option("--plan", help="print what so many tokens take, such as 1e12; run nothing")] = None,
        show_help: Annotated[bool, typer.Option("--help", help="show the options and stop")] = False,
    ) -> None:  # fmt: skip
        if plan is None or show_help:
            command(options, out, dry_run, quiet, show_help)
            return
        from trivium.stages.planning.capacity import plan_of

        typer.echo(plan_of(options or [], plan))

    return planned


def with_router(command: Command) -> Command:
    """`route --router FOLDER --prompts TEXT`: where prompts go, instead of training."""

    def routed(
        options: Options = None, out: Out = None, dry_run: DryRun = False, quiet: Quiet = False,
        router: Annotated[Path | None, typer.Option("--router", help="routers, or the run that made them: decide, train nothing")] = None,
        prompts: Annotated[str, typer.Option("--prompts", help="with --router: a prompt, or a file of them")] = "",
        kind: Annotated[str | None, typer.Option("--kind", help="which router; default: the best on held-out prompts")] = None,
        share: Annotated[float | None, typer.Option("--share", help="of prompts for the strong model")] = None,
        price: Annotated[float | None, typer.Option("--price", help="of a unit of cost, instead of a share")] = None,
        show_help: Annotated[bool, typer.Option("--help", help="show the options and stop")] = False,
    ) -> None:  # fmt: skip
        if router is None or show_help:
            command(options, out, dry_run, quiet, show_help)
            return
        from trivium.stages.use.deciding import decisions

        if not prompts:
            raise ConfigError("--router decides where prompts go; give --prompts, a text or a file")
        for line in decisions(router, prompts, kind=kind, share=share, price=price):
            typer.echo(line)

    return routed


WRAPPED: dict[str, Callable[[Command], Command]] = {
    "prepare": with_plan, "route": with_router,
    **dict.fromkeys(("pretrain", "finetune", "reward", "prefer", "reinforce"), with_ranks),
}  # fmt: skip
