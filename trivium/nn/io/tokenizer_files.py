"""The files beside the weights that tell other tools how text becomes ids and when an answer ends."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tokenizers

from trivium.core.errors import ArtefactError, did_you_mean
from trivium.text.chat import ChatFormat, jinja
from trivium.text.tokenizer import SPECIALS, Tokenizer

FILE, CONFIG, GENERATION = "tokenizer.json", "tokenizer_config.json", "generation_config.json"
ROLES = ("bos_token", "eos_token", "pad_token")


def tokenizer_config(tokenizer: Tokenizer, chat_format: ChatFormat | None = None) -> dict[str, Any]:
    """The content of tokenizer_config.json: which control token begins, ends and pads, and the chat template.

    The end of a base model's text is the document separator; that of a chat model is the token that closes an answer.
    """
    document, pad = SPECIALS[:2]
    chosen = {"bos_token": document, "eos_token": chat_format.end if chat_format else document, "pad_token": pad}
    named = {role: token for role, token in chosen.items() if token in tokenizer.special}
    return named | ({"chat_template": jinja(chat_format)} if chat_format else {})


def parse_tokenizer(tokenizer_json: str, vocab_size: int, where: str = FILE) -> Tokenizer:
    """The tokenizer of a model. Raises ArtefactError if it is none, or has ids that the model's embedding lacks."""
    try:
        tokenizer = Tokenizer(tokenizers.Tokenizer.from_str(tokenizer_json))
    except Exception as error:  # the library raises bare Exception for every damaged file
        raise ArtefactError(f"{where}: is not a tokenizer ({error})") from None
    check_vocabulary(tokenizer, vocab_size, where)
    return tokenizer


def check_vocabulary(tokenizer: Tokenizer, vocab_size: int, where: str) -> None:
    """Every id must have a row in the embedding; a few rows more than ids are padding and harmless."""
    if tokenizer.vocab_size > vocab_size:
        raise ArtefactError(f"{where}: has ids up to {tokenizer.vocab_size - 1:,}, but the model's vocab_size is {vocab_size:,}")


def special_ids(tokenizer: Tokenizer, config: Mapping[str, Any], where: str = CONFIG) -> dict[str, int | None]:
    """bos_token_id, eos_token_id and pad_token_id; None where tokenizer_config names no token. Raises ArtefactError: an unknown token."""
    ids: dict[str, int | None] = {}
    for role in ROLES:
        token = config.get(role)
        name = token.get("content") if isinstance(token, Mapping) else token
        if name is not None and (not isinstance(name, str) or name not in tokenizer.special):
            near = did_you_mean(str(name), tokenizer.special)
            raise ArtefactError(f"{where}: {role} is {name!r}, which is no control token of the tokenizer{near}")
        ids[f"{role}_id"] = None if name is None else tokenizer.special[name]
    return ids


def with_own_padding(tokenizer: Tokenizer, config: Mapping[str, Any], stop_ids: Sequence[int]) -> dict[str, Any]:
    """tokenizer_config of a reward model, whose padding is another control token than those that end an answer.

    transformers reads a score at the last token that is not padding: were both the same, it would read it one token too early.
    Where there is no other control token, no padding is named, and transformers refuses batches of several answers.
    """
    ids = special_ids(tokenizer, config)
    ends = {*stop_ids, ids["eos_token_id"]}
    if ids["pad_token_id"] is not None and ids["pad_token_id"] not in ends:
        return dict(config)
    others = [name for name, index in tokenizer.special.items() if index not in ends]
    others.sort(key=lambda name: ("pad" not in name.lower(), tokenizer.special[name] == ids["bos_token_id"]))
    rest = {role: token for role, token in config.items() if role != "pad_token"}
    return rest | ({"pad_token": others[0]} if others else {})


def write_tokenizer_files(folder: Path, tokenizer_json: str, config: Mapping[str, Any], *, max_seq_len: int) -> None:
    """Write tokenizer.json and tokenizer_config.json."""
    (folder / FILE).write_text(tokenizer_json, encoding="utf-8")
    known = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, "model_max_length": max_seq_len}
    write_json(folder / CONFIG, known | dict(config))


def write_generation_config(folder: Path, ids: Mapping[str, int | None], stop_ids: Sequence[int]) -> None:
    """Write generation_config.json: what ends an answer is stop_ids, or the eos token if there are none."""
    given = {name: value for name, value in ids.items() if value is not None}
    write_json(folder / GENERATION, given | ({"eos_token_id": list(stop_ids)} if stop_ids else {}))


def write_json(file: Path, value: Mapping[str, Any]) -> None:
    """Write an object with sorted keys, so that equal models are equal files."""
    file.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
