"""What several reward models say together."""

import numpy as np
import pytest

from tests.nn.io_models import FILES, ours
from trivium.nn.io.directory import save_model
from trivium.stages.computing.judges import Judges
from trivium.stages.computing.models import Speaker
from trivium.stages.machine import Machine
from trivium.stages.recipe import single


@pytest.mark.parametrize(("coef", "expected"), [(0.0, [2.0, 1.0]), (1.0, [1.0, -1.0]), (0.5, [1.5, 0.0])])
def test_the_lower_score_of_two_models_is_their_mean_less_one_deviation(tmp_path, coef, expected):
    save_model(tmp_path / "judge", ours("llama", has_scalar=True), **FILES)
    said = iter((np.array([1.0, 3.0]), np.array([3.0, -1.0])))
    models = [str(tmp_path / "judge")] * 2
    options = single("reinforce", {"model": "base", "prompts": "p", "phases": 1, "reward_model": models, "disagreement_coef": coef})
    machine = Machine(threads=1, precision="float32", compile="off", ceiling=5e10, kernels="torch")
    speaker = Speaker.load(tmp_path / "judge", machine, has_scalar=True)
    judges = Judges(options.stages["reinforce"], speaker, [], [], [speaker, speaker], [], None, lambda *_: next(said), [])
    assert judges.score([None, None], [0, 1]).tolist() == expected
