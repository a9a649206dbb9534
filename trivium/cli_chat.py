"""The commands in which a model speaks, or people about it: `trivium chat`, `generate` and `judge`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

TopK = Annotated[int, typer.Option(min=0, help="draw among the so many likeliest tokens; 0: all")]
TopP = Annotated[float, typer.Option(help="among the fewest that have this share of the probability")]
MinP = Annotated[float, typer.Option(help="among those at least so likely, next to the likeliest")]
Penalty = Annotated[float, typer.Option(help="of tokens that were there before; 1: none")]
Precision = Annotated[
    Literal["float32", "bfloat16", "int8"], typer.Option(help="of the weights: fewer bits are faster, and no longer exactly the model's")
]


def chat(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="a model directory, a run folder, or smollm2; NAME=MODEL names it")
    ],
    temperature: float = 0.7,
    max_new_tokens: int = 64,
    top_k: TopK = 0,
    top_p: TopP = 1.0,
    min_p: MinP = 0.0,
    repetition_penalty: Penalty = 1.0,
    seed: int = 1,
    precision: Precision = "float32",
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
    from trivium.stages.use.chat import named
    from trivium.stages.use.deciding import Decider
    from trivium.stages.use.talk import talk

    folders = named(models, alone="model")
    sampling = Sampling(
        temperature=temperature, max_new_tokens=max_new_tokens, top_k=top_k, top_p=top_p, min_p=min_p, repetition_penalty=repetition_penalty
    )
    decider = Decider.chosen(router, share, price)
    talk(folders, sampling, seed=seed, system=system, router=decider, memory=memory, precision=precision)


def generate(
    model: str, prompts: str, temperature: float = 1.0, max_new_tokens: int = 64, top_k: TopK = 0, top_p: TopP = 1.0, min_p: MinP = 0.0,
    repetition_penalty: Penalty = 1.0, seed: int = 1, precision: Precision = "float32",
) -> None:  # fmt: skip
    """Answer every prompt of a file (or one prompt given as text) and print JSON lines."""
    from trivium.generate.sampling import Sampling
    from trivium.stages.use.chat import answer_all, model_folder

    sampling = Sampling(
        temperature=temperature, max_new_tokens=max_new_tokens, top_k=top_k, top_p=top_p, min_p=min_p, repetition_penalty=repetition_penalty
    )
    for line in answer_all(model_folder(Path(model)), prompts, sampling, seed=seed, precision=precision):
        typer.echo(line)


def judge(
    answers: Annotated[list[str], typer.Argument(metavar="NAME=FILE...", help="answers of a model, as `generate` leaves them")],
    votes: Annotated[Path, typer.Option(help="folder for votes.jsonl, which `matches`, `rank` and `route` read")],
    seed: int = 1,
) -> None:
    """Say which of two answers is better, without knowing whose they are; the same command goes on where it was left."""
    from trivium.stages.use.judging import judge as ask

    typer.echo(ask(answers, votes, seed=seed))
