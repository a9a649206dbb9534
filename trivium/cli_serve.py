"""The command `trivium serve`."""

from pathlib import Path
from typing import Annotated

import typer

from trivium.cli_chat import Precision


def serve(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="as for chat; NAME=MODEL gives one another name")],
    host: Annotated[str, typer.Option(help="another than this machine's own needs --key-env")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    key_env: Annotated[str, typer.Option(help="environment variable with the key that clients must bring")] = "",
    rows: Annotated[int, typer.Option(min=1, max=1024, help="answers of a model made at once")] = 16,
    waiting: Annotated[int, typer.Option(min=0, max=4096, help="more that may wait; beyond it clients are told to come back")] = 64,
    context: Annotated[int, typer.Option(min=2, help="tokens of prompt and answer together at most; memory grows with it")] = 2048,
    deadline_s: Annotated[float, typer.Option(min=1, help="seconds after which an answer ends where it is")] = 300.0,
    precision: Precision = "float32",
    votes: Annotated[Path | None, typer.Option(help="folder for votes.jsonl: which of two answers on the page was better")] = None,
    router: Annotated[Path | None, typer.Option(help="routers, or the run that made them: they choose for the model 'router'")] = None,
    share: Annotated[float | None, typer.Option(help="with --router: of prompts for the strong model")] = None,
    price: Annotated[float | None, typer.Option(help="with --router: of a unit of cost, instead of a share")] = None,
) -> None:  # fmt: skip
    """Serve models over HTTP as OpenAI's interface has it, with a chat page."""
    from trivium.serve.start import Place, serve as start
    from trivium.stages.use.deciding import Decider

    place = Place(host, port, key_env, rows, waiting, context, deadline_s, votes, precision)
    start(models, place, lambda line: typer.echo(line, err=True), router=lambda: Decider.chosen(router, share, price))
