"""The formats of published recipes: the very text that they write, with the control tokens of the model at hand."""

import pytest

from tests.text.conftest import TEXTS
from trivium.core.types import Message
from trivium.text.chat import jinja, render, stop_ids
from trivium.text.chat_forms import form, forms
from trivium.text.chat_templates import recognise
from trivium.text.tokenizer import SPECIALS, train_bpe

TOKENIZER = train_bpe(TEXTS, 400, (*SPECIALS, "<s>", "</s>"))
INTRO = "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
ASKED, SAID = Message("user", "the king?"), Message("assistant", "12")
WRITTEN = {
    "alpaca": f"<s>{INTRO}### Instruction:\nthe king?\n\n### Response:|12</s>|",
    "dolly": f"<s>{INTRO}### Instruction:\nthe king?\n\n### Response:\n|12</s>|",
    "hh": "<s>\n\nHuman: the king?\n\nAssistant: |12</s>|",
}


@pytest.mark.parametrize("name", forms())
def test_a_conversation_is_written_like_this_and_the_answer_counts(name):
    rendered = render([ASKED, SAID], TOKENIZER, form(name, start="<s>", end="</s>"))
    before, answer, after = WRITTEN[name].split("|")
    assert TOKENIZER.decode(rendered.tokens, skip_special=False) == before + answer + after
    assert TOKENIZER.decode(rendered.tokens[rendered.loss_mask > 0], skip_special=False) == answer
    prompt = render([ASKED], TOKENIZER, form(name, start="<s>", end="</s>"), for_generation=True)
    assert TOKENIZER.decode(prompt.tokens, skip_special=False) == before


@pytest.mark.parametrize("name", forms())
def test_a_model_with_one_token_for_begin_and_end_begins_with_none(name):
    chosen = form(name, start="</s>", end="</s>")
    assert (chosen.start, chosen.control, stop_ids(TOKENIZER, chosen)) == ("", ("</s>",), (TOKENIZER.id_of("</s>"),))


@pytest.mark.parametrize("name", ["alpaca", "dolly"])
def test_a_system_turn_takes_the_place_of_the_introduction(name):
    chosen = form(name, start="<s>", end="</s>")
    own = render([Message("system", "be brief"), ASKED, SAID], TOKENIZER, chosen)
    assert TOKENIZER.decode(own.tokens, skip_special=False) == WRITTEN[name].replace("|", "").replace(INTRO, "be brief\n\n")


@pytest.mark.parametrize("name", forms())
def test_other_tools_read_the_exported_template_the_same(name):
    chosen = form(name, start="<s>", end="</s>")
    found = recognise(jinja(chosen), ("<s>", "</s>"), {"bos_token": "<s>", "eos_token": "</s>"})
    assert found is not None
    assert all(
        render(turns, TOKENIZER, found).tokens.tolist() == render(turns, TOKENIZER, chosen).tokens.tolist()
        for turns in ([ASKED, SAID], [ASKED, SAID, ASKED, SAID], [Message("system", "brief"), ASKED, SAID])
    )
