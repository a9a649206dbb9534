"""datatrove's filters on given texts: which documents each drops and why, and the processor seconds it takes.

A definition of theirs can be replaced by ours, one after the other, until every verdict is ours: so a difference is explained by the
definition with which it goes away. Words and sentences are spaCy's for English (`spacy.blank("en")`), which nothing is downloaded for.
"""

import json
import re
import time
from pathlib import Path

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    c4_filters,
    fineweb_quality_filter,
    gopher_quality_filter,
    gopher_repetition_filter,
)
from datatrove.utils.text import split_into_parts
from rounds import Rounds, options, versions

WHOLE_PAGE = {  # of C4, the rules that look at a page; those that delete lines are off
    "remove_citations": False,
    "filter_no_terminal_punct": False,
    "min_words_per_line": -1,
    "max_word_length": -1,
    "filter_javascript": False,
    "filter_policy": False,
}
SENTENCE_END = re.compile(r"[.!?][\"'”’)\]]*(?=\s|$)")
LINE_ENDS = (".", "!", "?", "'", '"', "’", "”", "…", "。", "！", "？")


class AnyCase(set):
    """Stop words that are found in any case and with marks around them."""

    def intersection(self, words):
        """Those among the words."""
        return super().intersection({word.strip(".,;:!?\"'()[]“”‘’").lower() for word in words})


def _quality(changes):
    chosen = GopherQualityFilter()
    gopher_quality_filter.split_into_words = _words(changes)
    gopher_quality_filter.PUNCTUATION_SET = () if "words that are only marks count" in changes else PUNCTUATION
    if "stop words in any case, without marks" in changes:
        chosen.stop_words = AnyCase(chosen.stop_words)
    return chosen, _stars if "* is a bullet" in changes else str


def _repetition(changes):
    gopher_repetition_filter.split_into_words = _words(changes)
    gopher_repetition_filter.find_top_duplicate = _top(changes)
    return GopherRepetitionFilter(), str.strip if "white space around the text does not count" in changes else str


def _c4(changes):
    is_ours = "sentences end at . ! ? before white space" in changes
    c4_filters.split_into_sentences = (lambda line, _: SENTENCE_END.findall(line)) if is_ours else SENTENCES
    return C4QualityFilter(**(WHOLE_PAGE if "no line is deleted" in changes else {})), str


def _fineweb(changes):
    fineweb_quality_filter.split_into_words = _words(changes)
    ends = LINE_ENDS if "quotes and … end a line" in changes else FineWebQualityFilter().stop_chars
    if "white space after the end of a line does not count" in changes:
        ends = [end + space for end in ends for space in ("", " ", "  ", "   ", "\r", "\t", "\xa0")]
    return FineWebQualityFilter(stop_chars=tuple(ends)), str


FILTERS = {  # how it is made, and the definitions in which ours differs
    "gopher_repetition": (
        _repetition,
        ("words by white space", "a 2-gram that is there once is no repetition", "the n-gram that covers most, not the most frequent",
         "white space around the text does not count"),
    ),
    "gopher_quality": (
        _quality,
        ("words by white space", "words that are only marks count", "stop words in any case, without marks", "* is a bullet"),
    ),
    "c4": (_c4, ("no line is deleted", "sentences end at . ! ? before white space")),
    "fineweb": (
        _fineweb,
        ("quotes and … end a line", "white space after the end of a line does not count", "words by white space"),
    ),
}  # fmt: skip
PUNCTUATION = gopher_quality_filter.PUNCTUATION_SET
WORDS, SENTENCES = gopher_quality_filter.split_into_words, c4_filters.split_into_sentences
TOP = gopher_repetition_filter.find_top_duplicate


def _words(changes):
    return (lambda text, _: text.split()) if "words by white space" in changes else WORDS


def _top(changes):
    def top(grams):
        counts = gopher_repetition_filter.Counter(grams)
        often = {gram: count for gram, count in counts.items() if count > 1}
        if "the n-gram that covers most, not the most frequent" in changes:
            return max((len(gram) * count for gram, count in often.items()), default=0)
        return TOP(grams) if often else 0

    return top if "a 2-gram that is there once is no repetition" in changes else TOP


def _stars(text):
    return re.sub(r"(?m)^(\s*)\*", r"\1-", text)


def reasons(name, changes, texts):
    """Why each text is dropped, None where it is kept."""
    chosen, prepare = FILTERS[name][0](changes)
    found = (chosen.filter(Document(prepare(text), "")) if text else (False, "empty") for text in texts)
    return [None if answer is True else answer[1] for answer in found]


def explained(name, texts, ours):
    """Reasons as shipped, then how many verdicts differ from ours (True: kept), as shipped and with ever more of our definitions."""
    changes = FILTERS[name][1]
    rows = [reasons(name, changes[:count], texts) for count in range(len(changes) + 1)]
    differing = [[number for number, (row, kept) in enumerate(zip(found, ours, strict=True)) if (row is None) != kept] for found in rows]
    return {"reasons": rows[0], "changes": list(changes), "differing": differing}


def seconds(name, texts):
    """Processor seconds of a filter, or of the chain of all: a document that one drops the next does not see."""
    chain = [FILTERS[each][0](("no line is deleted",))[0] for each in (FILTERS if name == "chain" else [name])]
    split_into_parts.cache_clear()  # it keeps the last words, which the filters of a chain share
    before = time.process_time()
    for text in texts:
        document = Document(text, "")
        all(each.filter(document) is True for each in chain)
    return time.process_time() - before


def main():
    """Answer until nothing more is wanted: the time of a filter, or its verdicts beside ours."""
    want = options()
    texts = json.loads(Path(want["texts"]).read_text())
    seconds("chain", ["The first text makes the tokenizer."])
    rounds = Rounds(versions=versions("datatrove", "spacy"))
    while True:
        request = rounds.tick()
        if "kept" in request:
            rounds.facts = explained(request["name"], texts, request["kept"])
        else:
            rounds.facts = {"seconds": [seconds(request["name"], texts)]}  # processor time: neighbours must not count


if __name__ == "__main__":
    main()
