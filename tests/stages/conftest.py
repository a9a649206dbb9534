"""A chat model of a few thousand weights that has learned four conversations by heart, what the user says in them too."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.nn.io_models import FILES, TOKENIZER, ours
from trivium.core.types import Example, Message
from trivium.data.pack import pack
from trivium.nn.io.directory import save_model
from trivium.text.chat import PLAIN, render

KNOWN = {"who is king?": "a user", "what is land?": "the king", "say hello.": "hello world", "it said that.": "12 ships"}
STEPS = 120


def teach(folder: Path, chats: list[tuple[str, str]]) -> Path:
    """Leave a model that knows these questions and answers, each as often as it is there, in `folder`."""
    model = ours("llama")
    rows = [render((Message("user", query), Message("assistant", answer)), TOKENIZER, PLAIN).tokens for query, answer in chats]
    [batch] = pack([(Example(tokens, np.ones(len(tokens), np.float32)),) for tokens in rows], rows=len(rows), length=48)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(STEPS):
        logprobs_BL, _ = model.logprobs(model.hidden(batch), batch, 1.0, False)
        loss = -logprobs_BL.sum() / (batch.loss_mask_BL > 0).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    save_model(folder, model, **FILES)
    return folder


@pytest.fixture(scope="session")
def taught(tmp_path_factory) -> Path:
    """The model's directory; made once in each test process."""
    return teach(tmp_path_factory.mktemp("taught") / "model", list(KNOWN.items()))
