"""`trivium plan`: what a recipe will take, here or on a cluster, before it takes it."""

import json
from typing import Annotated

import typer

from trivium.cli_options import Options
from trivium.core.errors import ConfigError


def plan(
    recipe: Annotated[str, typer.Argument(help="a shipped name, a TOML file, a run folder, or `pretrain` (or a preset) with tokens=1e12")],
    options: Options = None,
    gpus: Annotated[int, typer.Option("--gpus", help="of a cluster; 0: this machine")] = 0,
    gpu: Annotated[str, typer.Option("--gpu", help="which: h100, h200, b200, a100 ... (trivium/plan/devices.toml)")] = "h100",
    net: Annotated[str, typer.Option("--net", help="between nodes, for each GPU, in gigabits a second")] = "400G",
    calibrate: Annotated[bool, typer.Option("--calibrate", help="measure one and two layers on this machine first, and keep that")] = False,
    against: Annotated[bool, typer.Option("--against", help="of a run folder: what was planned beside what it took")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="of a cluster: JSON instead of text")] = False,
) -> None:
    """What a recipe takes before it starts: memory, time, cost, failures, launch lines; each number says where it is from."""
    from trivium.core.config import parse_overrides
    from trivium.stages.planning.jobs import asked

    found = asked(recipe, parse_overrides(options or []), list(options or []))
    if against and (gpus or found.folder is None):
        raise ConfigError("--against compares the plan for this machine with a run: name its folder, and leave --gpus out")
    if gpus:
        from trivium.plan.figures import as_json as plain_figures, as_text
        from trivium.stages.planning.outlay import plan_of

        sections = plan_of(found, gpus=gpus, gpu=gpu, net=net, with_calibration=calibrate)
        typer.echo(json.dumps(plain_figures(sections), indent=1) if as_json else as_text(sections))
        return
    from trivium.stages.pipeline import check
    from trivium.stages.planning.plan import against as compared, plan as told

    if found.is_shape:
        raise ConfigError("a shape without text is planned for a cluster: say --gpus 8 --gpu h100, or name a recipe")
    if as_json:
        raise ConfigError("--json is for the plan of a cluster; add --gpus 8 --gpu h100")
    check(found.recipe)
    if against and found.folder is not None:
        typer.echo(compared(found.recipe, found.folder, with_rehearsal=calibrate))
    else:
        typer.echo(told(found.recipe, with_rehearsal=calibrate))
