"""Options that commands share, and the stages whose command does something besides running."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from trivium.core.errors import ConfigError

Command = Callable[..., None]

Options = Annotated[list[str] | None, typer.Argument(metavar="[key=value]...", help="options, for example steps=100 optimizer.lr=1e-3")]
Out = Annotated[Path | None, typer.Option("--out", help="run folder (default: runs/NAME)")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="print the plan: parameters, FLOPs, memory, tokens, time; run nothing")]
Quiet = Annotated[bool, typer.Option("--quiet", help="say only errors")]
Json = Annotated[bool, typer.Option("--json", help="JSON lines, for programs")]
StageName = Annotated[str, typer.Option("--stage", help="which, if several stages of the run are pre-training")]
Plugins = Annotated[list[Path] | None, typer.Option("--plugin", help="let this Python file, which the recipe names, run as a reward")]
Chat = Annotated[bool, typer.Option("--chat/--no-chat", help="open a chat at the end if this is a terminal")]


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
        from trivium.stages.capacity import plan_of

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
        from trivium.stages.deciding import decisions

        if not prompts:
            raise ConfigError("--router decides where prompts go; give --prompts, a text or a file")
        for line in decisions(router, prompts, kind=kind, share=share, price=price):
            typer.echo(line)

    return routed


WRAPPED: dict[str, Callable[[Command], Command]] = {"prepare": with_plan, "route": with_router}
