"""The check against published rankings, on a planted leaderboard."""

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from scripts.check_ranking import ATTACK, BOARD, MATRIX, OUTPUTS, implied, main, near
from trivium.core.types import Match
from trivium.score.ranking import tabulate

MODELS = [f"m{number}" for number in range(8)]


def planted(folder: Path, *, off: float = 0.0) -> None:
    """Eight models and a constant answer judged on 80 prompts, and a leaderboard that has their rates, one of them `off`."""
    draw, cells = np.random.default_rng(11), []
    for _ in range(80):
        hardness = draw.normal()
        gaps = [-1 + 0.2 * model - 1.5 * hardness + 0.3 * draw.normal() for model in range(8)] + [1.2 + draw.normal()]
        cells.append([1 + 1 / (1 + np.exp(-gap)) for gap in gaps])
    names, table = [*MODELS, ATTACK], np.array(cells)
    with gzip.open(folder / MATRIX, "wt", newline="") as file:
        rows = [[number, f"prompt {number}", *map(str, row), 1.5] for number, row in enumerate(table.tolist())]
        csv.writer(file).writerows([["instruction_id", "instruction", *names, "base"], *rows])
    with gzip.open(folder / OUTPUTS, "wt") as file:
        for number, row in enumerate(table.tolist()):
            outputs = {name: f"{name} says {number}" for name in MODELS}
            preference = dict(zip(MODELS, row, strict=False))
            told = {"instruction": f"prompt {number}", "baseline": "base", "baseline_output": f"base says {number}"}
            file.write(json.dumps(told | {"outputs": outputs, "preference": preference}) + "\n")
    rates = 100 * (table.mean(0) - 1)
    rates[0] += off
    with (folder / BOARD).open("w", newline="") as file:
        links = [
            [name.upper(), rate, rate, f"https://x/results/{name}/model_outputs.json"] for name, rate in zip(names, rates, strict=True)
        ]
        csv.writer(file).writerows([["name", "win_rate", "length_controlled_winrate", "samples"], *links])


def test_what_is_published_is_found_again(tmp_path, capsys):
    pytest.importorskip("choix")
    pytest.importorskip("evalica")
    planted(tmp_path)
    assert main([str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "win rates of 9 models: 0.00 points apart" in told
    assert "win rates at equal lengths of 8 models" in told
    assert f"flagged: {ATTACK} " in told
    assert "VERDICT: all right" in told


def test_what_is_not_is_told():
    ours = {"a": 1.0, "b": 2.0, "c": 3.0}
    assert near("rates", ours, ours, 0.5)[0]
    is_right, said = near("rates", ours, {"a": 1.0, "b": 2.0, "c": 6.0}, 0.5)
    assert not is_right
    assert "1.00 points apart on average (at most 0.5), c the most with 3.00 and 6.00 published" in said
    assert not near("rates", ours, {"a": 3.0, "b": 2.0, "c": 1.0}, 9.0)[0]  # another order
    assert not near("rates", ours, {"a": 1.0}, 9.0)[0]


def test_a_matrix_implies_who_won_on_each_prompt():
    from trivium.core.types import Message

    prompts = [(Message("user", str(number)),) for number in range(2)]
    scores = [{"a": 0.9, "b": 0.2, "c": 0.2}, {"a": 0.1, "b": 0.3}]
    table = tabulate(
        [Match((model, "base"), score, prompt) for prompt, known in zip(prompts, scores, strict=True) for model, score in known.items()]
    )
    assert [(match.models, match.score) for match in implied(table)] == [
        (("a", "b"), 1.0), (("a", "c"), 1.0), (("b", "c"), 0.5), (("a", "b"), 0.0)
    ]  # fmt: skip
