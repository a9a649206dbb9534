"""Evaluation texts are found in whatever holds 13 of their words in a row, and nothing else is touched."""

import pytest
from hypothesis import given, settings, strategies as st

from trivium.core.errors import ConfigError
from trivium.core.types import Document
from trivium.text.decontaminate import FLAG, Contamination, Evaluations, settle_overlaps, without
from trivium.text.pipeline import Count, Funnel

QUESTION = "Which of the seven seas did the old captain cross alone in the winter of eighteen hundred and one?"
SHORT = "Who painted the ceiling of the northern chapel?"  # 8 words
QUIZ = {"quiz": [[QUESTION, "yes"], [SHORT], ["Is it so?"]], "other": [["nothing " * 20]]}
FILLER = "Plain words about something else fill the rest of this page. "


def cleaned(texts: list[str], mode: str) -> tuple[list[Document], Funnel, dict[str, dict[str, object]]]:
    documents = [Document(text, str(number)) for number, text in enumerate(texts)]
    size = sum(len(text.encode()) for text in texts)
    funnel, contamination = Funnel(read=Count(len(texts), size), kept=Count(len(texts), size)), Contamination(Evaluations(QUIZ))
    kept = [left for left in settle_overlaps(documents, contamination, mode, funnel=funnel) if left is not None]
    assert funnel.kept.documents == len(kept)
    assert funnel.kept.bytes == sum(len(document.text.encode()) for document in kept)
    gone = [*funnel.dropped.values(), *funnel.cut.values()]
    assert funnel.read.bytes == funnel.kept.bytes + sum(count.bytes for count in gone)
    return kept, funnel, contamination.to_dict()


def words_of_question(first: int, count: int) -> str:
    return " ".join(QUESTION.split()[first : first + count])


def test_thirteen_words_in_a_row_are_found_and_twelve_are_not():
    found = Evaluations(QUIZ).find([f"He asked: {words_of_question(2, 13).upper()}!", words_of_question(2, 12), "", QUESTION[:20]])
    assert [overlap is not None for overlap in found] == [True, False, False, False]
    assert found[0].items == {("quiz", 0)}
    assert found[0].spans == ((10, 10 + len(words_of_question(2, 13))),)


def test_a_text_of_eight_to_twelve_words_is_found_whole():
    texts = [f"We wondered {SHORT}", "who painted the ceiling of the northern", "Who painted the ceiling of the southern chapel?"]
    assert [overlap is not None for overlap in Evaluations(QUIZ).find(texts)] == [True, False, False]


def test_a_run_does_not_reach_across_texts_of_an_item_or_documents():
    evaluations = Evaluations({"quiz": [["one two three four five six seven eight nine ten", "eleven twelve thirteen fourteen fifteen"]]})
    assert evaluations.find(["four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"]) == [None]
    halves = [words_of_question(0, 9), words_of_question(9, 11)]
    assert Evaluations(QUIZ).find(halves) == [None, None]


def test_every_benchmark_is_reported():
    texts = [FILLER * 5 + QUESTION, FILLER, f"{QUESTION} {SHORT}"]
    kept, funnel, report = cleaned(texts, "drop")
    assert [document.id for document in kept] == ["1"]
    assert funnel.dropped["evaluation text of quiz"].documents == 2
    assert report["quiz"] == {
        "items": 3,
        "too_short": 1,
        "hit_items": 2,
        "documents": 2,
        "samples": [{"id": "0", "text": QUESTION[:-1]}, {"id": "2", "text": QUESTION[:-1]}],
    }
    assert (report["other"]["hit_items"], report["other"]["documents"]) == (0, 0)


def test_a_flagged_document_is_unchanged_but_for_a_field():
    kept, funnel, _ = cleaned([FILLER, QUESTION], "flag")
    assert kept == [Document(FILLER, "0"), Document(QUESTION, "1", meta={FLAG: ["quiz"]})]
    assert not funnel.dropped


def test_cutting_takes_two_hundred_characters_around_and_says_what_it_took():
    kept, funnel, _ = cleaned([FILLER * 20 + QUESTION + FILLER * 20, QUESTION, FILLER], "cut")
    assert [document.id for document in kept] == ["0", "2"]
    assert kept[1].text == FILLER
    before, after = kept[0].text.split("\n\n")
    assert (FILLER * 20).startswith(before)
    assert (FILLER * 20).strip().endswith(after)
    assert 180 <= 20 * len(FILLER) - len(before) <= 220
    assert funnel.cut["part of quiz"].documents == 1
    assert funnel.dropped["evaluation text of quiz"].documents == 1
    assert QUESTION[:40] in funnel.samples["part of quiz"][0]["text"]


def test_a_text_in_more_than_ten_pieces_is_not_kept():
    text = ((FILLER * 20) + "x") * 11 + FILLER * 20
    spans = [(number * (20 * len(FILLER) + 1) - 1, number * (20 * len(FILLER) + 1)) for number in range(1, 12)]
    assert without(text, spans[:9])[0]
    assert without(text, spans) == ([], [text])


@settings(deadline=None)
@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=60), st.integers(0, 50), st.integers(8, 13))
def test_what_shares_no_run_is_never_found_and_what_does_always_is(letters, place, size):
    item = [f"w{number}" for number in range(size)]
    evaluations = Evaluations({"quiz": [[" ".join(item)]]}, ngram=13)
    assert evaluations.find([" ".join(letters)]) == [None]
    planted = letters[:place] + item + letters[place:]
    [overlap] = evaluations.find([" ".join(planted)])
    assert overlap is not None
    [(start, end)] = overlap.spans
    assert " ".join(planted)[start:end] == " ".join(item)


def test_runs_of_fewer_than_eight_words_are_refused():
    with pytest.raises(ConfigError, match="below 8 words"):
        Evaluations(QUIZ, ngram=5)


def test_no_evaluation_texts_find_nothing():
    assert Evaluations({"empty": []}).find(["a b c"]) == [None]
