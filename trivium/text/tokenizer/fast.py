"""Encoding by gigatoken where it is installed (`pip install 'trivium[data]'`): the same ids, tens of times as fast as `tokenizers`.

It knows the splitting rules of common tokenizers only. So it is used for a tokenizer when it loads, and after it has given the ids of
`tokenizers` for texts that were written to be difficult and for the first ones it gets.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Encode = Callable[[Sequence[str]], list[np.ndarray]]
_RENEWED_CHARS = 1 << 28

# white space, contractions, numbers, long words, control bytes, accents, scripts, joined signs, what is half a letter or half a digit
DIFFICULT = (
    "", " ", "   two  spaces\tand\r\n\r\n lines \n", "don't we'll they'VE I'd '''s", "3.14159, 12,345 and 1e-9", "x" * 300, "aaaa" * 90,
    "\0\x01\x7f", "na\u00efve co\u00f6perate cafe\u0301", "\u4f60\u597d\uff0c\u4e16\u754c\u3002", "\u0645\u0631\u062d\u0628\u0627",
    "\u0661\u0662\u0663 \u0928\u092e\u0938\u094d\u0924\u0947", "\U0001f469\u200d\U0001f52c\U0001f1e9\U0001f1ea",
    "\u00a0\u2003\u3000wide", "\u00b2\u00bd\u2167\u2460", "\ufeffmark", "\U00010348\U0001d7d8", "\ue000\uffff",
    "<|endoftext|> <|end|>", "def f(x):\n    return x**2  # {}\n", "\u01c5\u02b0\u0345\u1fbc", "\u200b\u2028\u2029\x85\x0b\x0c.",
)  # fmt: skip


def fast_encoder(tokenizer_json: str, reference: Encode, texts: Sequence[str]) -> Encode | str:
    """What encodes a batch as `reference` does, after both were compared on `texts`; or the reason in one line why there is none."""
    try:
        import gigatoken
    except ImportError:
        return "gigatoken is not installed"

    def make() -> Any:
        return gigatoken.Tokenizer.from_json(_without_specials(tokenizer_json))

    chars = 0
    try:
        backend = make()
    except Exception as error:  # of its own kind for every rule that it does not know
        return f"gigatoken does not know this tokenizer ({' '.join(str(error).split())[:120]})"

    def encode(batch: Sequence[str]) -> list[np.ndarray]:
        nonlocal backend, chars
        chars += sum(map(len, batch))
        if chars > _RENEWED_CHARS:  # it remembers every word that it has seen
            backend, chars = make(), 0
        layout = backend.encode_batch(list(batch)).layout
        offsets, ids = np.asarray(layout.offsets), np.asarray(layout.content.data).astype(np.int32)
        return [ids[start:end] for start, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)]

    sample = [*DIFFICULT, *texts]
    try:
        pairs = zip(encode(sample), reference(sample), strict=True)
        differs = next((text for text, (mine, theirs) in zip(sample, pairs, strict=True) if not np.array_equal(mine, theirs)), None)
    except Exception as error:
        return f"gigatoken failed on a text ({' '.join(str(error).split())[:120]})"
    return encode if differs is None else f"gigatoken gives other ids than tokenizers for {differs[:40]!r}"


def _without_specials(tokenizer_json: str) -> str:
    """The same tokenizer without control tokens, which text must not become."""
    content = json.loads(tokenizer_json)
    content["added_tokens"] = [token for token in content.get("added_tokens", []) if not token.get("special")]
    return json.dumps(content | {"post_processor": None, "truncation": None, "padding": None}, ensure_ascii=False)
