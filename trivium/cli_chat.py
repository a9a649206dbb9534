"""The commands in which people speak: `trivium chat` and `trivium judge`."""

from pathlib import Path
from typing import Annotated

import typer


def chat(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="a model directory, a run folder, or smollm2; NAME=MODEL names it")
    ],
    temperature: float = 0.7,
    max_new_tokens: int = 64,
    seed: int = 1,
    system: Annotated[str, typer.Option(help="what stands before the chat")] = "",
    memory: Annotated[
        bool | None, typer.Option("--memory/--no-memory", help="read earlier turns again; default: if it was taught to")
    ] = None,
    router: Annotated[Path | None, typer.Option(help="routers, or the run that made them: one of the models answers each line")] = None,
    share: Annotated[float | None, typer.Option(help="with --router: of prompts for the strong model")] = None,
    price: Annotated[float | None, typer.Option(help="with --router: of a unit of cost, instead of a share")] = None,
) -> None:
    """Talk to a model, to several beside each other, or to those that a router chooses among."""
    from trivium.generate.sampling import Sampling
    from trivium.stages.chat import named
    from trivium.stages.deciding import Decider
    from trivium.stages.talk import talk

    folders = named(models, alone="model")
    sampling = Sampling(temperature=temperature, max_new_tokens=max_new_tokens)
    talk(folders, sampling, seed=seed, system=system, router=Decider.chosen(router, share, price), memory=memory)


def judge(
    answers: Annotated[list[str], typer.Argument(metavar="NAME=FILE...", help="answers of a model, as `generate` leaves them")],
    votes: Annotated[Path, typer.Option(help="folder for votes.jsonl, which `matches`, `rank` and `route` read")],
    seed: int = 1,
) -> None:
    """Say which of two answers is better, without knowing whose they are; the same command goes on where it was left."""
    from trivium.stages.judging import judge as ask

    typer.echo(ask(answers, votes, seed=seed))
