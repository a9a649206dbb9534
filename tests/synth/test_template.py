"""The synthesizer's template: the published bytes, pairs that come back, and text that can never forge a marker."""

import random

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from trivium.core.errors import ArtefactError
from trivium.synth.sequences import sequences
from trivium.synth.template import CUT_OFF, MARKERS, REPEATED, Dropped, Template
from trivium.text.chat import PLAIN, ChatFormat
from trivium.text.records.readings import Pair, Reading
from trivium.text.tokenizer import SPECIALS, Tokenizer, train_bpe

TEXTS = ["the king of the land said that the people have 12 ships", "a user asks, an assistant answers: hello world"] * 4
MISTRAL = train_bpe(TEXTS, 320, ("<s>", "</s>", *MARKERS))
MISTRAL_CHAT = ChatFormat(control=("<s>", "</s>"), start="<s>", opening={"assistant": ""}, closing={"assistant": "</s>"})
PUBLISHED = Template.of(MISTRAL, MISTRAL_CHAT)
OWN: Tokenizer = train_bpe(TEXTS, 400, (*SPECIALS, "<|im_start|>", "<|im_end|>")).with_control(MARKERS)
OURS = Template.of(OWN, PLAIN)
CONTEXT, QUE, ANS, END = MISTRAL.id_of("<CON>"), *(MISTRAL.id_of(name) for name in MARKERS[2:])

FAMILIES = (  # what control tokens and turns look like in a dozen families, the synthesizer's among them
    *MARKERS, *SPECIALS, "<s>", "</s>", "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n", "[INST] ", " [/INST]", "<<SYS>>\n",
    "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>", "<bos><start_of_turn>user\n", "<end_of_turn>",
    "<|user|>\n", "<|assistant|>", "<\uff5cUser\uff5c>", "<\uff5cAssistant\uff5c>", "<|startoftext|>", "<|START_OF_TURN_TOKEN|>",
    "<|channel|>final<|message|>", "<extra_id_0>", "### Instruction:\n", "\n\nHuman: ", "\n\nAssistant: ",
    "<fim_prefix>", "<tool_call>", "</tool_call>", "<unused0>",
)  # fmt: skip

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd"), max_size=20)
FILLED = TEXT.map(str.strip).filter(bool)


def reading(context: str, *pairs: tuple[str, str], source: str = "") -> Reading:
    return Reading(context, tuple(Pair(*pair) for pair in pairs), source)


def controls(template: Template, ids: np.ndarray) -> list[int]:
    special = set(template.tokenizer.special.values())
    return [index for index in ids.tolist() if index in special]


def test_it_is_the_published_template_byte_for_byte():
    rendered = PUBLISHED.example([reading("the king", ("who?", "the king"), ("12?", "12 ships"))])
    text = "<s> <CON> the king </CON>\n\n<QUE> who? <ANS> the king </END>\n\n<QUE> 12? <ANS> 12 ships </END></s>"
    assert MISTRAL.decode(rendered.tokens, skip_special=False) == text
    counted = MISTRAL.decode(rendered.tokens[rendered.loss_mask > 0], skip_special=False)
    assert counted == text[text.index("<QUE>") :]
    assert rendered.tokens.dtype == np.int32
    assert rendered.loss_mask[0] == 0


def test_what_it_has_seen_stands_before_the_new_text_as_in_the_published_code():
    shots = [reading("a land", ("who?", "a user")), reading("the king", ("12?", "12 ships"))]
    prompt = PUBLISHED.prompt(shots, "hello world")
    assert MISTRAL.decode(prompt, skip_special=False) == (
        "<s> <CON> a land </CON>\n\n<QUE> who? <ANS> a user </END></s><s> <CON> the king </CON>\n\n<QUE> 12? <ANS> 12 ships </END></s>"
        "<s> <CON> hello world </CON>\n\n"
    )


def test_what_generation_begins_with_is_what_training_ended_with():
    both = [reading("a land", ("who?", "a user")), reading("hello world", ("12?", "12 ships"))]
    whole, prompt = PUBLISHED.example(both).tokens, PUBLISHED.prompt(both[:1], "hello world")
    assert whole[: len(prompt)].tolist() == prompt.tolist()
    assert PUBLISHED.parse(whole[len(prompt) :]) == (both[1].pairs, ())


@given(st.lists(st.tuples(FILLED, FILLED), min_size=1, max_size=4, unique_by=lambda pair: pair[0].casefold()), TEXT)
@settings(max_examples=150, deadline=None)
def test_pairs_come_back_as_they_were(pairs, context):
    for template in (PUBLISHED, OURS):
        given_ = reading(context, *pairs)
        prompt = template.prompt([], context)
        assert template.parse(template.example([given_]).tokens[len(prompt) :]) == (given_.pairs, ())


def ids(*parts: str | int) -> np.ndarray:
    return np.concatenate([MISTRAL.encode(part) if isinstance(part, str) else [part] for part in parts]).astype(np.int32)


CLOSE = MISTRAL.id_of("</s>")
GOOD = (QUE, " who? ", ANS, " a user ", END)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ((QUE, " who? ", ANS, " a us"), CUT_OFF),
        (("hello", CLOSE), CUT_OFF),
        ((QUE, " who? ", END, CLOSE), "not one question and one answer after it"),
        ((ANS, " a ", QUE, " b ", END, CLOSE), "not one question and one answer after it"),
        ((QUE, " a ", ANS, " b ", ANS, " c ", END, CLOSE), "not one question and one answer after it"),
        ((QUE, " a ", QUE, " a ", ANS, " c ", END, CLOSE), "not one question and one answer after it"),
        ((END, CLOSE), "not one question and one answer after it"),
        ((QUE, " a ", CONTEXT, ANS, " b ", END, CLOSE), "another control token inside"),
        (("so: ", QUE, " a ", ANS, " b ", END, CLOSE), "text before the question"),
        ((QUE, "  ", ANS, " b ", END, CLOSE), "an empty question"),
        ((QUE, " a ", ANS, " \n ", END, CLOSE), "an empty answer"),
        ((QUE, " a ", ANS, *MISTRAL.encode("é").tolist()[:1], END, CLOSE), "bytes that are no text"),
        ((QUE, " WHO? ", ANS, " b ", END, CLOSE), REPEATED),
    ],
)
def test_what_is_no_pair_is_dropped_with_its_reason_and_the_others_stay(written, reason):
    pairs, dropped = PUBLISHED.parse(ids(*GOOD, "\n\n", *written))
    assert pairs == (Pair("who?", "a user"),)
    assert [gone.reason for gone in dropped] == [reason]
    assert isinstance(dropped[0], Dropped)


def test_an_answer_without_pairs_is_no_error():
    assert PUBLISHED.parse(ids(CLOSE)) == ((), ())
    assert PUBLISHED.parse([]) == ((), ())


@pytest.mark.parametrize("template", [PUBLISHED, OURS], ids=["published", "ours"])
def test_text_with_the_control_strings_of_a_dozen_families_never_forges_a_marker(template):
    """10,000 texts, questions and answers: the control tokens of a prompt are those that the template placed, and the pairs come back."""
    draw = random.Random(1)
    parts = [*FAMILIES, "the king", " ", "\n", "é漢", "", "<", ">", "/END>"]

    def text() -> str:
        return "".join(draw.choice(parts) for _ in range(draw.randint(1, 4)))

    opening, closing, question, answer, end = template.markers
    text_of = [*template.start, opening, closing]
    for _ in range(125):  # of 82 texts each
        shot = reading(text(), *((f"{number} {text()} ?", f"{number} {text()} .") for number in range(40)))
        prompt = template.prompt([shot], text())
        assert controls(template, prompt) == [*text_of, *[question, answer, end] * 40, template.end, *text_of]
        written = template.example([shot]).tokens[len(template.prompt([], shot.context)) :]
        assert template.parse(written) == (shot.pairs, ())


def test_a_model_that_writes_markers_as_text_gets_no_pair():
    pairs, dropped = PUBLISHED.parse(ids("<QUE> who? <ANS> a user </END>", CLOSE))
    assert pairs == ()
    assert [gone.reason for gone in dropped] == [CUT_OFF]


def test_a_tokenizer_without_the_markers_is_refused():
    with pytest.raises(ArtefactError, match="no control token '<CON>'"):
        Template.of(train_bpe(TEXTS, 300), PLAIN)


def test_new_control_tokens_change_no_id_of_text():
    plain = train_bpe(TEXTS, 300)
    more = plain.with_control(MARKERS)
    assert [more.id_of(name) for name in MARKERS] == [*range(plain.vocab_size, plain.vocab_size + 5)]
    assert more.encode("the king <CON> </END>").tolist() == plain.encode("the king <CON> </END>").tolist()
    assert more.with_control(MARKERS) is more


def test_sequences_hold_readings_of_one_source_and_leave_out_what_does_not_fit():
    given_ = [reading(f"the king {number}", ("who?", f"king {number}"), source="ab"[number % 2]) for number in range(9)]
    length = max(len(OURS.example([each]).tokens) for each in given_)
    found, count = sequences([*given_, reading("none"), reading("the king " * 99, ("who?", "x"))], OURS, longest=3 * length, seed=1)
    assert count == 9
    assert sorted(controls(OURS, row.tokens).count(OURS.markers[0]) for row in found) == [1, 2, 3, 3]
    for row in found:
        said = {int(word.split(" <")[0]) % 2 for word in OWN.decode(row.tokens, skip_special=False).split("king ")[1:] if word[0].isdigit()}
        assert len(said) == 1
        assert len(row.tokens) <= 3 * length
    same, _ = sequences(given_, OURS, longest=3 * length, seed=1)
    assert [row.tokens.tolist() for row in same] == [row.tokens.tolist() for row in found]
