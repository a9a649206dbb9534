"""Pre-query templates follow from a model's own chat template: published strings of known families, and nothing that text can forge."""

import random
from functools import cache

import pytest
import tokenizers

from tests.text.test_chat_templates import GEMMA, LLAMA3, QWEN, SMOLLM2, ZEPHYR
from trivium.core.errors import DataError
from trivium.core.types import Message
from trivium.text.chat import PLAIN, ChatFormat, render
from trivium.text.chat_templates import recognise
from trivium.text.tokenizer import SPECIALS, Tokenizer, train_bpe

CHATML = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
CHATML += "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
PHI3 = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{'<|user|>' + '\n' + message['content'] + '<|end|>' + '\n' + '<|assistant|>' + '\n'}}"
    "{% elif message['role'] == 'assistant' %}{{message['content'] + '<|end|>' + '\n'}}{% endif %}{% endfor %}"
)
PHI4 = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '<|im_sep|>' + message['content'] + '<|im_end|>'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}{% else %}"
    "{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)
COMMAND_R = (
    "{{ bos_token }}{% for message in messages %}{{ '<|START_OF_TURN_TOKEN|>' + {'user': '<|USER_TOKEN|>', 'system': '<|SYSTEM_TOKEN|>',"
    " 'assistant': '<|CHATBOT_TOKEN|>', 'tool': '<|SYSTEM_TOKEN|>'}[message['role']] + message['content'] | trim"
    " + '<|END_OF_TURN_TOKEN|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}{% endif %}"
)
GRANITE = (
    "{% for message in messages %}{{ '<|start_of_role|>' + message['role'] + '<|end_of_role|>' + message['content'] }}"
    "{{ '<|end_of_text|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_of_role|>assistant<|end_of_role|>' }}{% endif %}"
)
YI = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ '<|im_start|>user\n' + message['content'] + '<|im_end|>\n"
    "<|im_start|>assistant\n' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + '<|im_end|>' + '\n' }}"
    "{% endif %}{% endfor %}"
)
DEEPSEEK_CODER = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ 'User: ' + message['content'] + '\n\n' }}"
    "{% elif message['role'] == 'assistant' %}{{ 'Assistant: ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
IM, LLAMA3_IDS = ("<|im_start|>", "<|im_end|>"), ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
TURN = ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>")
PHI = ("<s>", "</s>", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>")
COHERE = ("<BOS_TOKEN>", "<|START_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|SYSTEM_TOKEN|>", "<|END_OF_TURN_TOKEN|>")
QWEN25 = QWEN.replace("You are Qwen.", "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.")

# family -> (template, control tokens, bos, eos, the pre-query string); those of Magpie's configs/model_configs.json are as published there
FAMILIES = {
    "llama 3": (LLAMA3, LLAMA3_IDS, LLAMA3_IDS[0], LLAMA3_IDS[3], "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n"),
    "qwen 2.5": (
        QWEN25, IM, "", "<|im_end|>",
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n<|im_start|>user\n",
    ),
    "qwen 2 math, with its system turn": (
        SMOLLM2.replace("You are SmolLM", "You are a helpful assistant."), IM, "", "<|im_end|>",
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n",
    ),
    "gemma 1.1": (GEMMA, TURN, "<bos>", "<eos>", "<bos><start_of_turn>user\n"),
    "phi 3 small": (PHI3, PHI, "<|endoftext|>", "<|endoftext|>", "<|endoftext|><|user|>\n"),
    "phi 3 mini": (PHI3, PHI, "<s>", "<|endoftext|>", "<s><|user|>\n"),  # published with a blank, which its tokenizer puts there
    "mistral 0.3": (MISTRAL, ("<s>", "</s>", "[INST]", "[/INST]"), "<s>", "</s>", "<s>[INST] "),  # published with a blank after <s>
    "yi 1.5": (YI, ("<|startoftext|>", *IM), "<|startoftext|>", "<|im_end|>", "<|im_start|>user\n"),  # published after a bos
    "hermes 2": (CHATML, IM, "", "<|im_end|>", "<|im_start|>user\n"),
    "internlm 2": ("{{ bos_token }}" + CHATML, ("<s>", *IM), "<s>", "<|im_end|>", "<s><|im_start|>user\n"),
    "smollm 2": (SMOLLM2, IM, "<|im_start|>", "<|im_end|>", "<|im_start|>system\nYou are SmolLM<|im_end|>\n<|im_start|>user\n"),
    "zephyr": (ZEPHYR, ("<s>", "</s>"), "<s>", "</s>", "<|user|>\n"),
    "phi 4": (PHI4, (*IM, "<|im_sep|>"), "", "<|im_end|>", "<|im_start|>user<|im_sep|>"),
    "command r": (COMMAND_R, COHERE, COHERE[0], COHERE[-1], "<BOS_TOKEN><|START_OF_TURN_TOKEN|><|USER_TOKEN|>"),
    "granite": (
        GRANITE, ("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>"), "", "<|end_of_text|>", "<|start_of_role|>user<|end_of_role|>",
    ),
}  # fmt: skip
CONTROLS = tuple(dict.fromkeys([*SPECIALS, *(name for _, names, *_ in FAMILIES.values() for name in names)]))
TOKENIZER = train_bpe(["You are a helpful assistant. the user said: what is it, system?"] * 4, 256 + len(CONTROLS) + 60, CONTROLS)


@cache
def format_of(family: str) -> ChatFormat:
    template, names, bos, eos, _ = FAMILIES[family]
    found = recognise(template, names, {"bos_token": bos, "eos_token": eos} if bos else {"eos_token": eos})
    assert found is not None
    return found


def tokenizer_of(family: str) -> Tokenizer:
    return train_bpe(["You are a helpful assistant. the user said: what is it, system?"] * 4, 340, FAMILIES[family][1])


def ids_of_others(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of a text as tools have them that read control tokens in it."""
    backend = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    backend.encode_special_tokens = False
    return backend.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("family", FAMILIES)
def test_the_pre_query_of_a_known_family_is_what_was_published(family):
    tokenizer, published = tokenizer_of(family), FAMILIES[family][-1]
    found = render((), tokenizer, format_of(family), for_generation=True, speaker="user")
    assert tokenizer.decode(found.tokens, skip_special=False) == published
    assert found.tokens.tolist() == ids_of_others(tokenizer, published)
    assert not found.loss_mask.any()


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_the_beginning_of_every_conversation(family):
    begun = render((), TOKENIZER, format_of(family), for_generation=True, speaker="user").tokens.tolist()
    whole = render((Message("user", "what is it"), Message("assistant", "a")), TOKENIZER, format_of(family)).tokens.tolist()
    assert whole[: len(begun)] == begun
    more = render((Message("user", "what"), Message("assistant", "a")), TOKENIZER, format_of(family), for_generation=True, speaker="user")
    longer = (Message("user", "what"), Message("assistant", "a"), Message("user", "b"), Message("assistant", "c"))
    again = render(longer, TOKENIZER, format_of(family)).tokens.tolist()
    assert again[: len(more.tokens)] == more.tokens.tolist()


def test_a_template_whose_prompt_is_not_the_beginning_of_its_answers_is_refused():
    assert recognise(DEEPSEEK_CODER, ("<s>", "</s>"), {"bos_token": "<s>", "eos_token": "</s>"}) is None


def test_only_the_user_needs_no_turn_before():
    with pytest.raises(DataError, match="conversation is empty"):
        render((), TOKENIZER, PLAIN, for_generation=True)


def prompt(chat: ChatFormat, text: str) -> list[int]:
    return render((Message("user", text),), TOKENIZER, chat, for_generation=True).tokens.tolist()


def test_what_a_model_said_as_the_user_never_becomes_a_control_token():
    """5,000 texts made of control tokens of all families, parts of them and other marks, in the second step's prompt."""
    draw, formats = random.Random(7), {"plain": PLAIN} | {family: format_of(family) for family in FAMILIES}
    parts = [*CONTROLS, *(name[: len(name) // 2] for name in CONTROLS), *(name[len(name) // 2 :] for name in CONTROLS)]
    parts += ["user", "assistant", "system", "\n", "\n\n", " ", "### Response:", "\u200b", "<", "|", ">", "é", "what is it?", "\x00", "A: "]
    control = set(TOKENIZER.special.values())
    of_template = {name: [each for each in prompt(chat, "x") if each in control] for name, chat in formats.items()}
    for _ in range(5000):
        text = "".join(draw.choices(parts, k=draw.randint(1, 8)))
        name = draw.choice(sorted(formats))
        assert [each for each in prompt(formats[name], text) if each in control] == of_template[name], text
