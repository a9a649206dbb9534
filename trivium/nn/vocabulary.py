"""More words for a model: rows of its embedding, its head and its value embeddings for control tokens that were added."""

from dataclasses import replace

import torch

from trivium.core.errors import ConfigError
from trivium.core.seeds import key
from trivium.nn.config import ModelConfig
from trivium.nn.io.config_json import GUEST
from trivium.nn.model import Model

_TABLES = ("trunk.embed.weight", "trunk.head.weight")


def with_vocabulary(model: Model, vocab_size: int, seed: int) -> Model:
    """A model whose ids go up to vocab_size - 1; itself if they do. What it says of the words that it had is unchanged up to the softmax.

    New rows of what is read are drawn with the mean and the deviation of the old ones, so that training can tell them apart from the
    start; those of a head that is not tied are the mean (Hewitt 2021, nlp.stanford.edu/~johnhew/vocab-expansion.html). Raises ConfigError
    for a guest, whose embeddings are not known.
    """
    if vocab_size <= model.config.vocab_size:
        return model
    if model.config.family == GUEST:
        raise ConfigError("a guest's vocabulary cannot grow: its embeddings are transformers' own; take a model that trivium reads itself")
    model.gather()
    config: ModelConfig = replace(model.config, vocab_size=vocab_size)
    wide = Model(config, compute_dtype=model.trunk.compute_dtype, has_scalar=model.scalar_head is not None).to(model.device)
    old, more = model.state_dict(), vocab_size - model.config.vocab_size
    for name, rows in old.items():
        if name not in _TABLES and not name.endswith(".table.weight"):
            continue
        mean, spread = rows.float().mean(0), rows.float().std(0)
        generator = torch.Generator().manual_seed(key(seed, "new words", *map(ord, name.removeprefix("trunk."))) >> 1)
        noise = torch.randn(more, rows.shape[1], generator=generator).to(rows.device)
        is_read = config.tie_head or name != "trunk.head.weight"
        old[name] = torch.cat([rows, (mean + spread * noise if is_read else mean.expand(more, -1)).to(rows.dtype)])
    if config.tie_head:
        old["trunk.head.weight"] = old["trunk.embed.weight"]
    wide.load_state_dict(old)
    return wide
