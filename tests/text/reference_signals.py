"""The signals of one text in plain Python, by their definitions: slow, and what the vectorised ones are compared with."""

import re
from collections import Counter
from collections.abc import Sequence

STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))
ELLIPSES, BULLETS = ("...", "…"), ("•", "-", "*")
LINE_ENDS = (".", "!", "?", "'", '"', "’", "”", "…", "。", "！", "？")
SENTENCE_END = re.compile(r"[.!?][\"'”’)\]]*(?=\s|$)")
NGRAMS = tuple(range(1, 12))


def signals(text: str) -> dict[str, int]:
    """Name of the signal -> its value."""
    words, lines = text.split(), text.splitlines()
    text_lines = [line for line in text.split("\n") if line.strip()]
    return {
        "num_chars": len(text),
        "num_line_feeds": text.count("\n"),
        "num_hashes": text.count("#"),
        "num_curly": text.count("{"),
        "num_ellipses": sum(map(text.count, ELLIPSES)),
        "num_sentences": len(SENTENCE_END.findall(text)),
        "num_words": len(words),
        "num_word_chars": sum(map(len, words)),
        "num_words_with_letter": sum(any(letter.isalpha() for letter in word) for word in words),
        "num_stop_words": len(STOP_WORDS.intersection(word.strip(".,;:!?\"'()[]“”‘’").lower() for word in words)),
        "has_lorem_ipsum": int("lorem ipsum" in text.lower()),
        "num_lines": len(lines),
        "num_bullet_lines": sum(line.lstrip().startswith(BULLETS) for line in lines),
        "num_ellipsis_lines": sum(line.rstrip().endswith(ELLIPSES) for line in lines),
        "num_text_lines": len(text_lines),
        "num_punctuated_lines": sum(line.rstrip().endswith(LINE_ENDS) for line in text_lines),
        "num_short_lines": sum(len(line) <= 30 for line in text_lines),
        "duplicate_text_line_chars": duplicates(text_lines)[1],
        "num_stripped_chars": len(text.strip()),
        **_parts(text.strip()),
        **{f"top {size}": top_ngram_chars(words, size) for size in NGRAMS},
        **{f"duplicate {size}": duplicate_ngram_chars(words, size) for size in NGRAMS},
    }


def _parts(text: str) -> dict[str, int]:
    found = {}
    for name, pattern in (("line", r"\n+"), ("paragraph", r"\n{2,}")):
        parts = re.split(pattern, text) if text else []
        found[f"{name} count"] = len(parts)
        found[f"{name} duplicates"], found[f"{name} duplicate_chars"] = duplicates(parts)
    return found


def duplicates(parts: Sequence[str]) -> tuple[int, int]:
    """How many parts have been there before, and their characters."""
    seen: set[str] = set()
    again = []
    for part in parts:
        if part in seen:
            again.append(part)
        seen.add(part)
    return len(again), sum(map(len, again))


def top_ngram_chars(words: Sequence[str], size: int) -> int:
    """Characters (single spaces included) of all occurrences of the n-gram that covers most; 0 if nothing repeats."""
    grams = Counter(zip(*(words[start:] for start in range(size)), strict=False))
    return max((count * (sum(map(len, gram)) + size - 1) for gram, count in grams.items() if count > 1), default=0)


def duplicate_ngram_chars(words: Sequence[str], size: int) -> int:
    """Characters, without spaces, in n-grams that have been there before; a character counts once."""
    seen: set[tuple[str, ...]] = set()
    at = total = 0
    while at <= len(words) - size:
        gram = tuple(words[at : at + size])
        if gram in seen:
            total += sum(map(len, gram))
            at += size
        else:
            seen.add(gram)
            at += 1
    return total
