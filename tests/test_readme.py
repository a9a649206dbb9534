"""The code of the README runs and does what it says."""

import re
from pathlib import Path
from types import SimpleNamespace

import torch

import trivium
from trivium import api
from trivium.core.types import example
from trivium.data.pack import pack
from trivium.learn.objectives.preference import ipo

README = (Path(__file__).parents[1] / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_python_example_starts_what_it_names(monkeypatch):
    started = []
    monkeypatch.setattr(api, "execute", lambda recipe, folder, **_: started.append((recipe, str(folder))))
    exec(PYTHON[0], {"trivium": trivium})
    (whole, whole_folder), (single, single_folder) = started
    assert (whole.seed, whole.stages["pretrain"].steps, whole_folder) == (7, 100, "runs/small")
    assert (single.stages["finetune"].model, single.stages["finetune"].steps, single_folder) == (
        "runs/small/pretrain/model",
        100,
        "runs/mine",
    )


def test_the_loss_of_one_file_is_the_one_that_is_there():
    shown = dict(vars(ipo))
    exec(PYTHON[1], shown)
    items = [example([0, 1], ref_logprobs=[0, value]) for value in (-1.0, -2.0)]
    [batch] = pack([tuple(items)], rows=2, length=2)
    out = SimpleNamespace(logprobs_BL=torch.tensor([[0.0, -0.5], [0.0, -3.0]]))
    torch.testing.assert_close(shown["IPO"](beta=0.3)(out, batch)[0], ipo.IPO(beta=0.3)(out, batch)[0])


def test_every_command_it_names_exists():
    from trivium.cli import app

    named = set(re.findall(r"(?m)(?:`|^)trivium ([a-z]+)", README))
    there = {command.name or command.callback.__name__ for command in app.registered_commands}
    [data] = app.registered_groups
    below = {command.name or command.callback.__name__ for command in data.typer_instance.registered_commands}
    assert {"run", "chat", "import", "doctor", "data"} <= named <= there | {data.name}
    assert set(re.findall(r"(?m)^trivium data ([a-z]+)", README)) == below


def test_it_is_short():
    assert README.count("\n") < 200
