"""Models as Hugging Face directories: config.json, model.safetensors and the tokenizer's files, in and out.

What we write is read by transformers and by whatever reads its directories; theirs are read here if the family has a table,
and others as guests (nn/foreign.py).
Our own directories are verified by their manifest; foreign ones by names, shapes, types and finite values.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from trivium.core import commit as commits
from trivium.core.errors import ArtefactError, DivergedError
from trivium.nn.config import ModelConfig
from trivium.nn.flops import num_parameters
from trivium.nn.foreign import GuestModel, load_guest, write_guest
from trivium.nn.heads import ScalarHead
from trivium.nn.io import config_json, tokenizer_files
from trivium.nn.io.config_json import read_architecture, read_config
from trivium.nn.io.families import FAMILIES
from trivium.nn.io.json_file import read_json
from trivium.nn.io.layout import HEAD, SCALAR, Stored, head_name, layout, prefix_of
from trivium.nn.io.weights import Found, check_weights, find_weights, read_weight, read_weights, write_weights
from trivium.nn.model import DTYPES, Model
from trivium.nn.promised import Promised, hollow
from trivium.text.tokenizer import Tokenizer

__all__ = ["KIND", "load_model", "read_config", "save_model", "write_model"]

KIND = "model"
SCALAR_FILE = "scalar_head.json"
EMBED = "trunk.embed.weight"
LARGEST_SCORE = 1e30
ABSURD = 16  # times as many weights as the files hold
Precision = Literal["float32", "bfloat16"]


def write_model(
    folder: Path,
    model: Model,
    *,
    tokenizer_json: str,
    tokenizer_config: Mapping[str, Any],
    dtype: Precision = "float32",
    stop_ids: Sequence[int] = (),
) -> None:
    """Write a model into an empty folder that exists: the one that `core.commit.commit` hands out.

    tokenizer_config: names of bos, eos and pad token and the chat template (`tokenizer_files.tokenizer_config` makes it).
    stop_ids: what ends an answer; the eos token if empty. A model with a scalar head is written as
    ...ForSequenceClassification with one label, whose logit is our score before gain and bias (`classifier.fold` puts them into the
    weights); these are in scalar_head.json, and in config.json for whoever reads that only. Its padding is no token that ends an answer.
    Raises ConfigError if the family cannot express the shape, ArtefactError if the tokenizer does not fit, DivergedError
    if a weight is not finite.
    """
    config = model.config
    tokenizer = tokenizer_files.parse_tokenizer(tokenizer_json, config.vocab_size)
    if model.scalar_head is not None:
        tokenizer_config = tokenizer_files.with_own_padding(tokenizer, tokenizer_config, stop_ids)
    ids = tokenizer_files.special_ids(tokenizer, tokenizer_config)
    tokenizer_files.write_tokenizer_files(folder, tokenizer_json, tokenizer_config, max_seq_len=config.max_seq_len)
    if isinstance(model, GuestModel):
        write_guest(folder, model, DTYPES[dtype])
        tokenizer_files.write_generation_config(folder, ids, stop_ids)
        return
    head = model.scalar_head
    fields = config_json.to_json(config, has_scalar=head is not None) | ids | {"torch_dtype": dtype, "use_cache": True}
    if head is not None:
        stated = head_json(head)
        fields |= {"id2label": {"0": "score"}, "label2id": {"score": 0}, "score_gain": stated["gain"], "score_bias": stated["bias"]}
        tokenizer_files.write_json(folder / SCALAR_FILE, stated)
    tokenizer_files.write_json(folder / config_json.FILE, fields)
    tokenizer_files.write_generation_config(folder, ids, stop_ids)
    state = model.state_dict()
    tensors = {name: stored.join(state, config.num_heads) for name, stored in layout(model).items()}
    write_weights(folder, tensors, DTYPES[dtype])


def save_model(
    path: Path,
    model: Model,
    *,
    tokenizer_json: str,
    tokenizer_config: Mapping[str, Any],
    dtype: Precision = "float32",
    stop_ids: Sequence[int] = (),
) -> dict[str, Any]:
    """Commit `write_model` as the folder `path` and return its manifest; an older one there is replaced as a whole."""
    tokenizer = tokenizer_files.parse_tokenizer(tokenizer_json, model.config.vocab_size)
    meta = {
        "family": model.config.family,
        "parameters": model.num_parameters,
        "dtype": dtype,
        "has_scalar": model.scalar_head is not None,
        "tokenizer": tokenizer.fingerprint,
    }

    def write(folder: Path) -> None:
        write_model(folder, model, tokenizer_json=tokenizer_json, tokenizer_config=tokenizer_config, dtype=dtype, stop_ids=stop_ids)

    return commits.commit(path, write, kind=KIND, meta=meta)


def load_model(
    path: Path, *, compute_dtype: torch.dtype = torch.float32, has_scalar: bool = False, is_guest: bool = False,
    later_on: torch.device | str | None = None,
) -> Model:  # fmt: skip
    """The model in a directory, ours or foreign; weights in fp32, used in compute_dtype.

    has_scalar: put a scalar head of zeros on a model that has none. later_on: a device that it is on without weights, each of which is
    read when it is wanted (nn/promised.py); not for a guest.
    is_guest: run it with transformers, whatever its architecture, instead of reading it as one of our families.
    The language head of a reward model or critic is not stored; if it is not tied to the embedding, it is zeros.
    Raises ArtefactError in one line naming file and tensor: damaged, missing, extra, misshapen, not finite, only a pickle,
    an unknown family, or a tokenizer with more ids than the model.
    """
    _check_folder(path)
    if is_guest:
        guest = load_guest(path, compute_dtype=compute_dtype, has_scalar=has_scalar)
        _check_tokenizer(path, guest.config.vocab_size)
        return guest
    described, found = read_architecture(path), find_weights(path)
    config, table = described.config, FAMILIES[described.config.family]
    _check_tokenizer(path, config.vocab_size)
    prefix = prefix_of(table, found)
    found = {prefix + name: tensor for name, tensor in found.items()}
    _refuse_absurd_sizes(path, config, found)
    with torch.device("meta"):  # no memory and no random numbers that would only be replaced
        model = Model(config, compute_dtype=compute_dtype, has_scalar=described.has_scalar)
    stored = layout(model, with_tied_head=head_name(table) in found)
    check_weights(found, stored, table.ignored, path)
    if later_on is None:
        state = read_weights(found, stored, config.num_heads)
    else:
        state = _promised(model, partial(read_weight, found, stored, config.num_heads), stored, later_on, path)
    if model.scalar_head is not None:
        found_head = read_head_json(path / SCALAR_FILE)
        state |= {f"{SCALAR}{name}": number for name, number in normalisation(found_head).items()}
        describe(model.scalar_head, found_head)
    fill(model, state, path)
    if has_scalar and model.scalar_head is None:
        model.scalar_head = ScalarHead(config.hidden_size)
    return model if later_on is None else model.to(later_on)


def _promised(
    model: Model, read: Callable[[str], Tensor], stored: Mapping[str, Stored], device: torch.device | str, path: Path
) -> dict[str, Tensor]:
    """What stands for our tensors until they are read."""
    shapes = {name: torch.Size(shape) for tensor in stored.values() for name, shape in tensor.ours.items()}
    if model.config.tie_head and shapes.pop(HEAD, None) is not None:
        _check_tie(read(HEAD), read(EMBED), path)
    is_stored = model.config.tie_head or HEAD in shapes  # that of a reward model is not
    shapes |= {} if is_stored else {HEAD: shapes[EMBED]}
    model.source = Promised(shapes, lambda name: read(name) if is_stored or name != HEAD else torch.zeros(shapes[HEAD]), device)
    return {name: hollow(shape, device) for name, shape in shapes.items()}


def _check_folder(path: Path) -> None:
    if not path.exists():
        with suppress(ArtefactError):
            commits.read_manifest(path)  # puts back what a kill between two renames left under its hidden name
    if not path.is_dir():
        raise ArtefactError(f"{path}: is no folder; a model is a folder with config.json and model.safetensors")
    if (path / commits.MANIFEST).exists():
        commits.verify(path, kind=KIND)


def _check_tokenizer(path: Path, vocab_size: int) -> None:
    """Ours was checked when it was written."""
    file = path / tokenizer_files.FILE
    if file.exists() and not (path / commits.MANIFEST).exists():
        tokenizer_files.check_vocabulary(Tokenizer.load(file), vocab_size, str(file))


def _refuse_absurd_sizes(path: Path, config: ModelConfig, found: Mapping[str, Found]) -> None:
    """A config.json that asks for far more than the files hold must not cost memory or time; of less, what is missing is named."""
    held = sum(math.prod(tensor.shape) for tensor in found.values())
    needed = num_parameters(config) - config.vocab_size * config.hidden_size  # a head may be left out
    if needed > ABSURD * held:
        raise ArtefactError(f"{path / config_json.FILE}: describes at least {needed:,} weights, but the files hold {held:,}")


def head_json(head: ScalarHead) -> dict[str, Any]:
    """Gain and bias as JSON numbers, which keep every bit of an fp32 number, and how whole answers are read, where that is not plain."""
    numbers = {"gain": head.gain.item(), "bias": head.bias.item()} | ({"length_slope": head.length_slope} if head.length_slope else {})
    for name, number in numbers.items():
        if not abs(number) < LARGEST_SCORE:
            raise DivergedError(f"scalar_head.{name} is {number}, so the model is not written")
    return numbers | ({} if head.process is None else {"process": dict(head.process)})


def read_head_json(file: Path) -> dict[str, Any]:
    """What is stored of a scalar head beside its weight; a foreign reward model has no such file. Raises ArtefactError naming a field."""
    content = read_json(file) if file.exists() else {"gain": 1.0, "bias": 0.0}
    for name in ("gain", "bias", *({"length_slope"} & content.keys())):
        if type(content.get(name)) not in (int, float) or not abs(content[name]) < LARGEST_SCORE:
            raise ArtefactError(f"{file}: {name} is {str(content.get(name))[:80]}; it must be a number below {LARGEST_SCORE:g}")
    if not isinstance(content.get("process", {}), dict):
        raise ArtefactError(f"{file}: process is {str(content['process'])[:80]}; it must be an object")
    return content


def describe(head: ScalarHead, content: Mapping[str, Any]) -> None:
    """Tell a scalar head how whole answers are read."""
    head.process, head.length_slope = content.get("process"), float(content.get("length_slope", 0.0))


def normalisation(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Gain and bias of a scalar head as tensors."""
    return {name: torch.tensor(float(content[name])) for name in ("gain", "bias")}


def fill(model: Model, state: dict[str, Tensor], path: Path) -> None:
    """Give a model without memory these tensors, and what is not stored: the tie and the table of rotary positions.

    Raises ArtefactError naming `path` if a head is given that differs from the embedding it is tied to.
    """
    config, trunk, embed = model.config, model.trunk, state[EMBED]
    if config.tie_head and HEAD in state:
        _check_tie(state[HEAD], embed, path)
    head = embed if config.tie_head else state.get(HEAD, torch.zeros_like(embed))
    model.load_state_dict({**state, HEAD: head}, assign=True)
    if config.tie_head:
        trunk.head.weight = trunk.embed.weight
    trunk.fill_tables()


def _check_tie(head: Tensor, embed: Tensor, path: Path) -> None:
    if not torch.equal(head, embed):
        raise ArtefactError(f"{path}: has a head that differs from the embedding, though its config.json says that they are tied")
