"""Byte-level BPE on the `tokenizers` library; what is kept on disk is a `tokenizer.json` that every other tool reads.

Text is content and nothing else: no string that a user writes becomes a control id. Control ids are placed by
`text/chat.py` and `text/shards.py`, which ask for them by name. There is no normaliser, so decode(encode(x)) == x.
"""

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from trivium.core.commit import commit_file, fingerprint
from trivium.core.errors import ArtefactError, ConfigError, DataError, did_you_mean
from trivium.core.regular import regular
from trivium.text.tokenizer.fast import Encode, fast_encoder
from trivium.text.tokenizer.marks import Before, unmarked

SPECIALS = ("<|endoftext|>", "<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")
FILE = "tokenizer.json"
_NUM_BYTES = 256
_WORTH_CHARS, _COMPARED_TEXTS = 1 << 18, 1000


class Tokenizer:
    """Text to ids and back.

    `special` maps the name of every control token to its id; `vocab_size` is the largest id plus one.
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        backend.encode_special_tokens = True  # "<|end|>" in a text is seven characters, not the end of a turn
        backend.no_truncation()  # a foreign file may carry both, and would then cut or pad in silence
        backend.no_padding()
        self._backend = backend
        self._fast: Encode | str | None = None
        self.special: dict[str, int] = {
            token.content: index for index, token in sorted(backend.get_added_tokens_decoder().items()) if token.special
        }
        self.vocab_size: int = max(backend.get_vocab(with_added_tokens=True).values(), default=-1) + 1
        unknown = getattr(backend.model, "unk_token", None)  # not every model of `tokenizers` has one
        self._is_control = np.zeros(self.vocab_size, bool)
        self._is_control[[index for name, index in self.special.items() if name != unknown]] = True

    @classmethod
    def load(cls, path: Path | str) -> "Tokenizer":
        """Read a tokenizer.json, or the one in a folder. Raises ArtefactError if it is missing or damaged."""
        file = Path(path) / FILE if Path(path).is_dir() else Path(path)
        try:
            return cls(tokenizers.Tokenizer.from_str(regular(file).read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise ArtefactError(f"{file}: there is no such file; a tokenizer is a tokenizer.json or the folder that holds it") from None
        except OSError as error:
            raise ArtefactError(f"{file}: cannot be read ({error.strerror})") from None
        except Exception as error:  # the library raises bare Exception for every damaged file
            raise ArtefactError(f"{file}: is not a tokenizer ({error})") from None

    def save(self, path: Path | str) -> None:
        """Write tokenizer.json, into `path` if that is a folder."""
        target = Path(path)
        commit_file(target / FILE if target.is_dir() or not target.suffix else target, self.to_json())

    def to_json(self) -> str:
        """The content of tokenizer.json."""
        return self._backend.to_str(pretty=False)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the canonical JSON: equal for tokenizers that give equal ids."""
        return fingerprint(json.loads(self.to_json()))

    def encode(self, text: str) -> np.ndarray:
        """Ids of a text, (L,) int32, without any control id. Raises DataError for a lone surrogate."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Ids of many texts, on all cores. From the first long batch on by a faster library if there is one that gives the same."""
        if self._fast is None and sum(map(len, texts)) >= _WORTH_CHARS:
            self._fast = fast_encoder(self.to_json(), self._encode, texts[:_COMPARED_TEXTS])
        try:
            ids = (self._fast if callable(self._fast) else self._encode)(texts)
        except (TypeError, UnicodeEncodeError):
            raise DataError("a text is not valid Unicode (a lone surrogate), so it cannot be encoded") from None
        if any(self._is_control[each].any() for each in ids):
            raise ArtefactError("this tokenizer turns plain text into control ids, so text could forge a turn; train another")
        return ids

    def encode_after(self, before: Before, text: str) -> np.ndarray:
        """Ids of a text that stands after something: as `encode`, but a mark of a text's beginning is there only where one begins."""
        plain, is_first_only = self._unmarked
        begins = before == "nothing" or (before == "control" and not is_first_only)
        return (self if plain is None or begins else plain).encode(text)

    @cached_property
    def _unmarked(self) -> tuple["Tokenizer | None", bool]:
        content, is_first_only = unmarked(self.to_json())
        return None if content is None else Tokenizer(tokenizers.Tokenizer.from_str(content)), is_first_only

    def _encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [np.array(encoding.ids, np.int32) for encoding in self._backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    @property
    def why_slow(self) -> str | None:
        """Why the faster library was not used for a long batch, in one line; None if it was, or there was no such batch."""
        return self._fast if isinstance(self._fast, str) else None

    def decode(self, ids: Sequence[int] | np.ndarray, skip_special: bool = True) -> str:
        """Text of ids; control ids are left out or, with skip_special=False, written by their names."""
        return self._backend.decode(np.asarray(ids, np.int64).tolist(), skip_special_tokens=skip_special)

    def id_of(self, name: str) -> int:
        """Id of a control token. Raises ArtefactError naming those that exist."""
        if name not in self.special:
            raise ArtefactError(f"the tokenizer has no control token '{name}'{did_you_mean(name, self.special)}")
        return self.special[name]

    def with_control(self, names: Sequence[str]) -> "Tokenizer":
        """The same with more control tokens, whose ids follow its own; itself if it has them all."""
        missing = [tokenizers.AddedToken(name, special=True, normalized=False) for name in names if name not in self.special]
        if not missing:
            return self
        backend = tokenizers.Tokenizer.from_str(self.to_json())
        backend.add_special_tokens(missing)
        return Tokenizer(backend)


def train_bpe(texts: Iterable[str], vocab_size: int, specials: Sequence[str] = SPECIALS) -> Tokenizer:
    """Learn byte-level BPE from texts; the same texts give the same tokenizer.

    Sennrich et al. 2016, arXiv:1508.07909, on bytes, within words as Qwen2 splits them (Yang et al. 2024, arXiv:2407.10671): of the
    rules that fast encoders know, the one in which every digit stands alone. Ids: the specials in order, the 256 bytes, then the merges.
    Fewer ids than asked for come out when the text has no more pairs to merge.
    Raises ConfigError if vocab_size leaves no room for the bytes, DataError if there is no text.
    """
    smallest = len(specials) + _NUM_BYTES
    if vocab_size < smallest:
        raise ConfigError(f"vocab_size is {vocab_size}; at least {smallest} are needed: {_NUM_BYTES} bytes, {len(specials)} control tokens")
    if len(set(specials)) != len(specials) or "" in specials:
        raise ConfigError("the control tokens must differ from each other and may not be empty")
    backend, trainer = _untrained(vocab_size, specials)
    seen = 0

    def counted() -> Iterable[str]:
        nonlocal seen
        for text in texts:
            seen += bool(text)
            yield text

    try:
        backend.train_from_iterator(counted(), trainer)
    except UnicodeEncodeError:
        raise DataError("a text is not valid Unicode (a lone surrogate), so no tokenizer can be trained on it") from None
    if not seen:
        raise DataError("there is no text to train a tokenizer on")
    return Tokenizer(backend)


def splitting_rule(digits: str) -> str:
    """The words of cl100k (tiktoken) with runs of digits as long as `digits` says: endings such as 's; letters with the sign or
    space before them; digits; other signs; line ends; white space."""
    return r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|" + digits + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def _untrained(vocab_size: int, specials: Sequence[str]) -> tuple[tokenizers.Tokenizer, trainers.BpeTrainer]:
    backend = tokenizers.Tokenizer(models.BPE())
    words = pre_tokenizers.Split(tokenizers.Regex(splitting_rule(r"\p{N}")), behavior="isolated")
    backend.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=list(specials), initial_alphabet=sorted(alphabet), show_progress=False
    )
    return backend, trainer
