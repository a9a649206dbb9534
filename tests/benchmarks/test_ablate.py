import json

import numpy as np
import pytest

from benchmarks import ablate, race
from benchmarks.ablate import BETTER, DEFAULT, PRESET, VARIATIONS, compared, verdict, winners
from benchmarks.contest import Contestant
from benchmarks.curves import Curve
from benchmarks.table import Line
from tests.tiny import write_tiny
from trivium.core.config import build
from trivium.learn.optim.recipes import AdamW
from trivium.learn.schedules import Schedule

FINALS = {DEFAULT: (1.50, 1.60, 1.70), "softcap 15": (1.49, 1.59, 1.69), "AdamW": (1.55, 1.65, 1.76), "decay 0.8": (1.4, 1.7, 1.7)}


def curves(name: str, finals: tuple[float, ...]) -> list[Curve]:
    contestant = Contestant(name, (), {"rows": 2}, name != DEFAULT)
    return [Curve(contestant, 1.0, seed, 4, [0.5] * 4, [(4, bits)]) for seed, bits in enumerate(finals, start=1)]


def lines(**changed: tuple[float, ...]) -> dict[str, Line]:
    raced = [curve for name, finals in (FINALS | changed).items() for curve in curves(name, finals)]
    return {line.name: line for line in compared(raced, 16)}


def test_variations_are_compared_seed_by_seed():
    """Seeds differ by 0.1, but within each seed 0.01 is 0.01: pairs find what ranges hide."""
    found = lines()
    assert found["softcap 15"].notes["verdict"] == BETTER
    assert found["softcap 15"].notes["difference"] == "-0.0100"
    assert found["AdamW"].notes["verdict"] == "worse"
    assert found["decay 0.8"].notes["verdict"] == "within noise"
    assert (found["AdamW"].value, found["AdamW"].notes["tokens/s"]) == (pytest.approx(1.6533, abs=1e-4), "64")
    assert "verdict" not in found[DEFAULT].notes


def test_what_failed_or_diverged_is_said():
    broken = curves("AdamW", FINALS["AdamW"])
    broken[1].failed = "out of memory"
    [_, line] = compared([*curves(DEFAULT, FINALS[DEFAULT]), *broken], 16)
    assert line.failed == "out of memory"
    assert lines(AdamW=(1.5, np.nan, 1.5))["AdamW"].failed == "it diverged"


def test_one_seed_decides_nothing():
    assert verdict(None, None) == "one seed"


def test_winners_go_together_and_one_alone_does_not():
    won = [Line(name, True, notes={"verdict": BETTER}) for name in ("softcap 15", "value embeddings", "decay 0.8", PRESET)]
    assert winners(won) == {
        "traits": {"logit_softcap": 15.0, "has_value_embeddings": True},
        "schedule": {"warmup_steps": 20, "decay_share": 0.8},
    }
    assert winners(won[:1]) == {}


def test_every_variation_is_options_that_exist():
    from benchmarks.ours.race import RECIPE

    for change in VARIATIONS.values():
        assert change.keys() <= RECIPE.keys()
        build(Schedule, change.get("schedule", {}))
        build(AdamW, change.get("optimizer", {}))


@pytest.mark.slow
def test_it_runs_tiny(tmp_path, monkeypatch, capsys):
    write_tiny(tmp_path)
    for name, size in {"vocab_size": 400, "depth": 1, "width": 64, "seq_len": 32}.items():
        monkeypatch.setitem(race.SHAPE, name, size)
    monkeypatch.setattr("trivium.stages.machine._matmul_flops", lambda *_: 1e9)
    options = ["--quick", "--variations", "best-fit rows", "--data", str(tmp_path / "corpus.jsonl"), "--out", str(tmp_path / "out")]
    facts = ablate.main(options)
    assert facts == json.loads(capsys.readouterr().out.splitlines()[-1])
    assert facts["peers"].keys() == {DEFAULT}
    assert 0 < facts["ours"] < 6
    assert (tmp_path / "out" / "ablate.csv").read_text().count("best-fit rows") == 4  # two seeds, each measured twice
