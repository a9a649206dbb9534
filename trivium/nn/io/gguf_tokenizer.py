"""The tokenizer inside a GGUF file: byte-level BPE as `tokenizer.ggml.*` has it, to a tokenizer.json and back.

How text is split before the merges is one word in GGUF (`tokenizer.ggml.pre`) and a list of steps in tokenizer.json; the table
below has the pairs we know. An unknown word is refused: with another split the same text would get other ids, in silence.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from trivium.core.errors import ArtefactError, did_you_mean
from trivium.nn.io.tokenizer_files import parse_tokenizer
from trivium.text.tokenizer import Tokenizer, splitting_rule

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED = 1, 2, 3, 4, 5
ROLES = {"bos_token": "bos", "eos_token": "eos", "pad_token": "padding", "unk_token": "unknown"}  # tokenizer_config -> GGUF

_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
_GPT2 = _BYTES | {"use_regex": True}  # with the splitting rule of GPT-2
_DECODER = _GPT2 | {"add_prefix_space": True}  # as the library writes it; decoding reads none of these
_DIGITS = {"type": "Digits", "individual_digits": True}


def _split(digits: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": splitting_rule(digits)}, "behavior": "Isolated", "invert": False}


PRE: dict[str, list[dict[str, Any]]] = {
    "smollm": [_DIGITS, _GPT2],
    "gpt-2": [_GPT2],
    "llama-bpe": [_split(r"\p{N}{1,3}"), _BYTES],
    "qwen2": [_split(r"\p{N}"), _BYTES],
    "stablelm2": [_split(r"\p{N}"), _BYTES],  # ours: as qwen2 without composing
}
_AS_IT_IS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}  # how an added token is looked for
_PLAIN_BPE = {
    "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False,
    "byte_fallback": False,
}  # fmt: skip
_WHOLE_WORDS = ("llama-bpe",)  # a word that is in the vocabulary is taken without merging
_COMPOSED = ("qwen2",)  # Hugging Face's tokenizer brings text into NFC first


def read_tokenizer(metadata: Mapping[str, Any], vocab_size: int, file: Path) -> tuple[Tokenizer, dict[str, Any]]:
    """The tokenizer, and the content of tokenizer_config.json. Raises ArtefactError naming the file and the field."""
    reader = _Reader(metadata, file)
    names, config = reader.tokens(), reader.roles()
    whole = json.dumps(reader.tokenizer(names, config), ensure_ascii=False)
    if "tokenizer.chat_template" in metadata:
        config["chat_template"] = reader.text("tokenizer.chat_template")
    return parse_tokenizer(whole, vocab_size, str(file)), config


def write_tokenizer(tokenizer: Tokenizer, config: Mapping[str, Any], vocab_size: int) -> dict[str, Any]:
    """The metadata of a tokenizer and its tokenizer_config.json: key -> text, flag, number or list.

    Ids up to vocab_size that the tokenizer lacks are named [PAD id]: llama.cpp wants a name for every row of the embedding.
    Raises ArtefactError if GGUF has no word for the way the tokenizer splits text.
    """
    whole = json.loads(tokenizer.to_json())
    pre = _pre_of(whole)
    added = {token["id"]: token for token in whole["added_tokens"]}
    names = {index: name for name, index in whole["model"]["vocab"].items()} | {index: token["content"] for index, token in added.items()}
    tokens = [names.get(index, f"[PAD{index}]") for index in range(vocab_size)]
    kinds = {index: CONTROL if token["special"] else USER_DEFINED for index, token in added.items()}
    fields: dict[str, Any] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [kinds.get(index, NORMAL if index in names else UNUSED) for index in range(vocab_size)],
        "tokenizer.ggml.merges": [merge if isinstance(merge, str) else " ".join(merge) for merge in whole["model"]["merges"]],
        "tokenizer.ggml.add_bos_token": "TemplateProcessing" in json.dumps(whole["post_processor"]),
    }
    for role, theirs in ROLES.items():
        token = config.get(role)
        name = token.get("content") if isinstance(token, Mapping) else token
        if name in tokenizer.special:
            fields[f"tokenizer.ggml.{theirs}_token_id"] = tokenizer.special[name]
    return fields | ({"tokenizer.chat_template": config["chat_template"]} if isinstance(config.get("chat_template"), str) else {})


def _pre_of(whole: Mapping[str, Any]) -> str:
    """The word for the way a tokenizer.json splits text."""
    steps = whole["pre_tokenizer"] or {}
    steps = _without_offsets(steps["pretokenizers"] if steps.get("type") == "Sequence" else [steps])
    model, normalizer = whole["model"], whole["normalizer"]
    for pre, known in PRE.items():
        is_same = steps == _without_offsets(known) and (normalizer == {"type": "NFC"} if pre in _COMPOSED else normalizer is None)
        if model["type"] == "BPE" and is_same and bool(model.get("ignore_merges")) == (pre in _WHOLE_WORDS):
            return pre
    raise ArtefactError(f"tokenizer.json: splits text in a way that GGUF has no name for here; it has: {', '.join(PRE)}")


def _without_offsets(steps: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Steps without the option that changes no ids."""
    return [{name: value for name, value in step.items() if name != "trim_offsets"} for step in steps]


class _Reader:
    """The fields of one file's tokenizer."""

    def __init__(self, metadata: Mapping[str, Any], file: Path) -> None:
        self.metadata, self.file = metadata, file

    def tokens(self) -> list[str]:
        """Names by id, each once."""
        names = self.texts("tokenizer.ggml.tokens")
        if len(set(names)) < len(names):
            self.fail("tokenizer.ggml.tokens", "names a token twice")
        return names

    def kinds(self, count: int) -> list[int]:
        kinds = self.metadata.get("tokenizer.ggml.token_type")
        if kinds is None:
            return [NORMAL] * count
        if not isinstance(kinds, np.ndarray) or len(kinds) != count:
            self.fail("tokenizer.ggml.token_type", f"must be a list of {count:,} numbers, one for each token")
        return kinds.tolist()

    def roles(self) -> dict[str, Any]:
        """Role -> name of its token."""
        names, roles = self.tokens(), {}
        for role, theirs in ROLES.items():
            key = f"tokenizer.ggml.{theirs}_token_id"
            index = self.metadata.get(key)
            if index is not None:
                if type(index) is not int or not 0 <= index < len(names):
                    self.fail(key, f"is {str(index)[:80]}; it must be an id below {len(names):,}")
                roles[role] = names[index]
        return roles

    def tokenizer(self, names: list[str], roles: Mapping[str, str]) -> dict[str, Any]:
        """The content of tokenizer.json."""
        if self.text("tokenizer.ggml.model") != "gpt2":
            self.fail("tokenizer.ggml.model", f"is {self.text('tokenizer.ggml.model')[:80]!r}; only gpt2, which is byte-level BPE, is read")
        pre = self.text("tokenizer.ggml.pre")
        if pre not in PRE:
            self.fail("tokenizer.ggml.pre", f"is {pre[:80]!r}{did_you_mean(pre[:80], PRE)}")
        kinds = self.kinds(len(names))
        special = set(roles.values()) | {name for name, kind in zip(names, kinds, strict=True) if kind in (CONTROL, UNKNOWN)}
        added = [
            {"id": index, "content": name, "special": name in special, **_AS_IT_IS}
            for index, (name, kind) in enumerate(zip(names, kinds, strict=True))
            if name in special or kind == USER_DEFINED
        ]
        vocab = {name: index for index, (name, kind) in enumerate(zip(names, kinds, strict=True)) if kind != UNUSED}
        model = {"type": "BPE", "ignore_merges": pre in _WHOLE_WORDS, "vocab": vocab, "merges": self.merges(vocab), **_PLAIN_BPE}
        return {
            "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
            "normalizer": {"type": "NFC"} if pre in _COMPOSED else None,
            "pre_tokenizer": PRE[pre][0] if len(PRE[pre]) == 1 else {"type": "Sequence", "pretokenizers": PRE[pre]},
            "post_processor": self.opening(roles, vocab), "decoder": _DECODER,
            "model": model,
        }  # fmt: skip

    def merges(self, vocab: Mapping[str, int]) -> list[list[str]]:
        written = self.metadata.get("tokenizer.ggml.merges")  # of a vocabulary of bytes there are none
        pairs = [merge.split(" ") for merge in self.texts("tokenizer.ggml.merges")] if written else []
        for pair in pairs:
            if len(pair) != 2 or not all(part in vocab for part in (*pair, "".join(pair))):
                self.fail("tokenizer.ggml.merges", f"has {' '.join(pair)[:80]!r}, which is not two tokens that make a third")
        return pairs

    def opening(self, roles: Mapping[str, str], vocab: Mapping[str, int]) -> dict[str, Any] | None:
        """What puts the bos token before a text for tools that ask for it; ours never does."""
        bos = roles.get("bos_token")
        if self.metadata.get("tokenizer.ggml.add_bos_token") is not True or bos not in vocab:
            return None
        single = [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
        pair = [*single, {"Sequence": {"id": "B", "type_id": 1}}]
        known = {bos: {"id": bos, "ids": [vocab[bos]], "tokens": [bos]}}
        return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": known}

    def text(self, key: str) -> str:
        value = self.metadata.get(key)
        if not isinstance(value, str):
            self.fail(key, "is missing, or no text")
        return value

    def texts(self, key: str) -> list[str]:
        value = self.metadata.get(key)
        if not isinstance(value, list) or not value:
            self.fail(key, "is missing, or no list of texts")
        return value

    def fail(self, key: str, problem: str) -> NoReturn:
        raise ArtefactError(f"{self.file}: {key} {problem}")
