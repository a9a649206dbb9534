"""Foreign chat templates: those that write fixed words around turns are recognised, the others are refused, none does harm."""

import time

import pytest

from trivium.text.chat import CHATML, PLAIN, jinja
from trivium.text.chat_templates import recognise

SMOLLM2 = (  # written as published: the default system turn is in the loop
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are SmolLM<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = (
    "{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    " + message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
    "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
ZEPHYR = (
    "{% for message in messages %}\n{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token }}\n"
    "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)


def test_chatml_with_a_standing_system_turn():
    """SmolLM2's bos token is the one that opens every turn; it is no start of the conversation."""
    found = recognise(SMOLLM2, CHATML.control, {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"})
    assert found is not None
    assert (found.start, found.system, found.end) == ("", "You are SmolLM", "<|im_end|>")
    assert (found.opening, found.closing) == (CHATML.opening, CHATML.closing)  # it writes every role so, the tools' too


def test_llama_3_begins_with_its_bos_token():
    names = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|python_tag|>")
    found = recognise(LLAMA3, names, {"bos_token": names[0], "eos_token": names[3]})
    assert found is not None
    assert found.start == "<|begin_of_text|>"
    assert found.opening["assistant"] == "<|start_header_id|>assistant<|end_header_id|>\n\n"
    assert found.closing == dict.fromkeys(("user", "assistant", "system", "tool"), "<|eot_id|>")
    assert set(found.control) == set(names[:4])


def test_zephyr_opens_turns_with_text_and_ends_them_with_eos():
    found = recognise(ZEPHYR, ("<s>", "</s>"), {"bos_token": "<s>", "eos_token": "</s>"})
    assert found is not None
    assert found.control == ("</s>",)
    assert (found.opening["user"], found.closing["user"]) == ("<|user|>\n", "</s>\n")


def test_gemma_has_no_system_turn():
    found = recognise(GEMMA, ("<bos>", "<start_of_turn>", "<end_of_turn>"), {"bos_token": "<bos>", "eos_token": "<eos>"})
    assert found is not None
    assert set(found.opening) == {"user", "assistant", "tool"}
    assert found.opening["assistant"] == "<start_of_turn>model\n"


QWEN_TOOL = """
    {%- elif message['role'] == 'tool' %}
        {%- if loop.index0 == 0 or messages[loop.index0 - 1]['role'] != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\\n<tool_response>\\n' + message['content'] + '\\n</tool_response>' }}
        {%- if loop.last or messages[loop.index0 + 1]['role'] != 'tool' %}{{- '<|im_end|>\\n' }}{%- endif %}
"""
QWEN = (  # as Qwen 2.5's writes turns, results of tools among them: one user turn for all in a row
    "{%- if messages[0]['role'] == 'system' %}{{- '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}"
    "{%- else %}{{- '<|im_start|>system\nYou are Qwen.<|im_end|>\n' }}{%- endif %}"
    "{%- for message in messages %}{%- if message['role'] in ('user', 'assistant') %}"
    "{{- '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    f"{QWEN_TOOL}"
    "{%- endif %}{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)
LLAMA31_TOOL = LLAMA3.replace(
    "{% set content =", "{% if message['role'] == 'tool' %}{% set said = message['content'] | tojson %}{% endif %}{% set content ="
).replace("message['content'] | trim", "(said if message['role'] == 'tool' else message['content'] | trim)")


def test_results_of_tools_that_share_a_turn_are_recognised():
    found = recognise(QWEN, CHATML.control, {"eos_token": "<|im_end|>"})
    assert found is not None
    assert (found.system, found.opening["tool"]) == ("You are Qwen.", "<|im_start|>user\n<tool_response>\n")
    assert found.closing["tool"] == "\n</tool_response><|im_end|>\n"
    assert found.tools_joint == "\n</tool_response>\n<tool_response>\n"
    assert recognise(jinja(found), CHATML.control, {}) == found


@pytest.mark.parametrize(
    "template",
    [
        LLAMA31_TOOL,  # the result as a JSON string: content that is changed
        GEMMA.replace("{% for", "{% if 'tool' in messages | map(attribute='role') %}{{ raise_exception('no') }}{% endif %}{% for", 1),
    ],
    ids=["content is changed", "refused by the template"],
)  # fmt: skip
def test_a_template_without_fixed_words_around_tools_has_no_such_role(template):
    found = recognise(template, ("<|begin_of_text|>", "<|eot_id|>", "<start_of_turn>", "<end_of_turn>"), {"bos_token": "<|begin_of_text|>"})
    assert found is not None
    assert "tool" not in found.opening
    assert not found.tools_joint


@pytest.mark.parametrize("form", [PLAIN, CHATML], ids=["plain", "chatml"])
def test_our_own_templates_are_recognised(form):
    found = recognise(jinja(form), form.control, {})
    assert found is not None
    assert found.start == form.start
    assert found.opening == form.opening


REFUSED = {
    "a thought is put before the last answer": SMOLLM2.replace(
        "message['content'] +", "('<think>' if loop.last else '') + message['content'] +"
    ),
    "capitals are lost": SMOLLM2.replace("message['content'] +", "message['content'] | lower +"),
    "turns are numbered": SMOLLM2.replace("message['role'] +", "message['role'] + loop.index | string +"),
    "a turn has no end": "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\n' }}{% endfor %}",
    "it is no template": "{% for message in %}",
    "it asks for what does not exist": "{{ messages.nothing.at_all }}",
    "it reaches for the interpreter": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "it is endless text": "x" * (1 << 17),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_fixed_words_cannot_express_is_refused(why):
    assert recognise(REFUSED[why], CHATML.control, {}) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "program",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "{{ 'x'.ljust(99999999999) }}",
    ],
    ids=["time", "memory by steps", "memory at once"],
)
def test_a_template_that_wants_all_time_or_memory_is_stopped(program):
    started = time.monotonic()
    assert recognise(program, CHATML.control, {}) is None
    assert time.monotonic() - started < 40
