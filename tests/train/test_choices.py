"""Log-probs of options against those of whole sequences, one by one."""

import numpy as np
import pytest
import torch

from tests.nn.io_models import logits, ours
from trivium.train.choices import choice_logprobs

PROMPTS = [np.array(ids, np.int32) for ids in ([5, 6, 7], [9], [8, 8, 4, 3, 2], [11, 12])]
OPTIONS = [np.array(ids, np.int32) for ids in ([20, 31], [20, 32], [40], [20, 31, 7], [41])]


@pytest.mark.parametrize("family", ["llama", "trivium", "gemma2"])
@pytest.mark.parametrize("rows", [1, 3])
def test_options_have_the_log_probs_of_their_tokens(family, rows):
    model = ours(family)
    found = choice_logprobs(model, PROMPTS, OPTIONS, rows=rows, length=12)
    for n, prompt in enumerate(PROMPTS):
        for k, option in enumerate(OPTIONS):
            ids = torch.tensor(np.concatenate([prompt, option])[None].astype(np.int64))
            with torch.no_grad():
                log_p = logits(model, ids)[0].float().log_softmax(-1)
            expected = sum(log_p[len(prompt) + place - 1, token].item() for place, token in enumerate(option))
            assert found[n, k] == pytest.approx(expected, abs=1e-4)


def test_options_that_differ_in_their_last_token_cost_one_pass(monkeypatch):
    model, calls, hidden = ours("llama"), [], type(ours("llama")).hidden

    def counted(self, batch):
        calls.append(batch)
        return hidden(self, batch)

    monkeypatch.setattr(type(model), "hidden", counted)
    choice_logprobs(model, PROMPTS, [np.array([token], np.int32) for token in range(30, 40)], rows=8, length=12)
    assert len(calls) == 1
