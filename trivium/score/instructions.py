"""Instructions whose following a program can check: the 25 kinds of IFEval (Zhou et al. 2023, arXiv:2311.07911, table 1), by their ids.

Differences from the published program: sentences end at . ! ? before white space, where that uses nltk's punkt; words in capitals are what
stands between white space, without outer signs; languages are told by what cleaning uses (`pip install 'trivium[data]'`).
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trivium.core.errors import DataError, did_you_mean
from trivium.core.types import Document
from trivium.text.filters.language import Language
from trivium.text.signals import Signals

Options = Mapping[str, Any]
Check = Callable[[str, Options], bool]

_SENTENCE_END = re.compile(r"[.!?]+[\"')\]]*(?:\s+|$)")
_FENCE = re.compile(r"^```(?:json)?\s*|\s*```$", re.IGNORECASE)
_POSTSCRIPTS = {"P.S.": r"p\.\s?s\.", "P.P.S": r"p\.\s?p\.\s?s"}
_CONSTRAINED = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_OUTER_SIGNS = "\"'“”‘’.,;:!?()[]{}*_-"


def is_followed(instruction: str, options: Options, response: str) -> bool:
    """Whether a response follows an instruction. An empty one follows none. Raises DataError: unknown, or an option is missing."""
    if instruction not in CHECKS:
        raise DataError(f"there is no check for the instruction '{instruction}'{did_you_mean(instruction, CHECKS)}")
    try:
        return bool(response.strip()) and CHECKS[instruction](response, options)
    except KeyError as error:
        raise DataError(f"the instruction '{instruction}' needs {error} in its kwargs (found: {', '.join(options) or 'none'})") from None


def loosened(response: str) -> list[str]:
    """The response without its first line, its last, both, and each of these without asterisks: what the loose score looks at too."""
    lines = response.split("\n")
    cuts = [response, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return [*cuts, *(cut.replace("*", "") for cut in cuts)]


def _compared(count: int, options: Options, relation: str, wanted: str) -> bool:
    if options[relation] not in ("less than", "at least"):
        raise DataError(f"{relation} is {options[relation]!r}; it is 'less than' or 'at least'")
    return count < options[wanted] if options[relation] == "less than" else count >= options[wanted]


def _is_english(text: str) -> bool:
    return _is_in(text, "en")


def _is_in(text: str, language: str) -> bool:
    return Language(languages=(language,), min_confidence=0.0).judge(Signals([Document(text)]))[0] is None


def _sentences(text: str, options: Options) -> bool:
    count = sum(bool(part.strip()) for part in _SENTENCE_END.split(text))
    return _compared(count, options, "relation", "num_sentences")


def _highlights(text: str, options: Options) -> bool:
    single = sum(bool(found.strip("*").strip()) for found in re.findall(r"\*[^\n*]*\*", text))
    double = sum(bool(found[2:-2].strip()) for found in re.findall(r"\*\*[^\n*]*\*\*", text))
    return single + double >= options["num_highlights"]


def _bullets(text: str, options: Options) -> bool:
    stars, dashes = (re.findall(pattern, text, re.MULTILINE) for pattern in (r"^\s*\*[^*].*$", r"^\s*-.*$"))
    return len(stars) + len(dashes) == options["num_bullets"]


def _paragraphs(text: str, options: Options) -> bool:
    parts = [part.strip() for part in re.split(r"\s?\*\*\*\s?", text)]
    return all(parts[1:-1]) and sum(map(bool, parts)) == options["num_paragraphs"]


def _nth_paragraph(text: str, options: Options) -> bool:
    parts = [part.strip() for part in re.split(r"\n\n", text) if part.strip()]
    nth = options["nth_paragraph"]
    if len(parts) != options["num_paragraphs"] or nth > len(parts):
        return False
    first = re.match(r"[\"'‘“]*([^\s.,?!'\"]*)", parts[nth - 1])
    return first is not None and first[1].lower() == options["first_word"].lower()


def _two_responses(text: str, options: Options) -> bool:
    parts = [part.strip() for part in text.split("******")]
    said = [part for part in parts if part]
    return all(parts[1:-1]) and len(said) == 2 and said[0] != said[1]


def _postscript(text: str, options: Options) -> bool:
    marker = options["postscript_marker"]
    return re.search(_POSTSCRIPTS.get(marker, re.escape(marker.lower())), text.lower()) is not None


def _is_json(text: str, options: Options) -> bool:
    try:
        json.loads(_FENCE.sub("", text.strip()))
    except (ValueError, RecursionError):
        return False
    return True


def _count(word: str, text: str) -> int:
    return len(re.findall(re.escape(word), text, re.IGNORECASE))


CHECKS: dict[str, Check] = {
    "keywords:existence": lambda text, options: all(_count(word, text) for word in options["keywords"]),
    "keywords:frequency": lambda text, options: _compared(_count(options["keyword"], text), options, "relation", "frequency"),
    "keywords:forbidden_words": lambda text, options: (
        not any(re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) for word in options["forbidden_words"])
    ),
    "keywords:letter_frequency": lambda text, options: _compared(
        text.lower().count(options["letter"].lower()), options, "let_relation", "let_frequency"
    ),
    "language:response_language": lambda text, options: _is_in(text, options["language"]),
    "length_constraints:number_sentences": _sentences,
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:number_words": lambda text, options: _compared(len(re.findall(r"\w+", text)), options, "relation", "num_words"),
    "length_constraints:nth_paragraph_first_word": _nth_paragraph,
    "detectable_content:number_placeholders": lambda text, options: len(re.findall(r"\[.*?\]", text)) >= options["num_placeholders"],
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:constrained_response": lambda text, _: any(answer in text for answer in _CONSTRAINED),
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:multiple_sections": lambda text, options: (
        len(re.findall(rf"\s?{re.escape(options['section_spliter'])}\s?\d+\s?", text)) >= options["num_sections"]
    ),
    "detectable_format:json_format": _is_json,
    "detectable_format:title": lambda text, _: any(found.strip("<> ") for found in re.findall(r"<<[^\n]+>>", text)),
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": lambda text, options: text.strip().lower().startswith(options["prompt_to_repeat"].strip().lower()),
    "startend:end_checker": lambda text, options: text.strip().strip('"').lower().endswith(options["end_phrase"].strip().lower()),
    "startend:quotation": lambda text, _: re.fullmatch(r'".*"', text.strip(), re.DOTALL) is not None,
    "change_case:capital_word_frequency": lambda text, options: _compared(
        sum(word.strip(_OUTER_SIGNS).isupper() for word in text.split()), options, "capital_relation", "capital_frequency"
    ),
    "change_case:english_capital": lambda text, _: text.isupper() and _is_english(text),
    "change_case:english_lowercase": lambda text, _: text.islower() and _is_english(text),
    "punctuation:no_comma": lambda text, _: "," not in text,
}


def instructions_of(fields: Mapping[str, Any]) -> Sequence[tuple[str, Options]]:
    """(id, options) of each instruction of a record. Raises DataError if the record has none, or not as many options."""
    names, options = fields.get("instruction_id_list"), fields.get("kwargs")
    if not isinstance(names, list) or not names or not isinstance(options, list) or len(names) != len(options):
        there = ", ".join(map(str, fields)) or "none"
        raise DataError(f"instructions are read from 'instruction_id_list' and 'kwargs', lists of one length (found: {there})")
    return [
        (str(name), {key: value for key, value in (each or {}).items() if value is not None})
        for name, each in zip(names, options, strict=True)
    ]
