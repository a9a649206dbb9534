"""What is an instruction and what is none, by example."""

import pytest

from trivium.synth.instruction import why_no_instruction

INSTRUCTIONS = [
    "What is the capital of Peru?",
    "Explain photosynthesis to a child.",
    "can you help me write a cover letter",
    "I'm trying to bake sourdough bread, but it never rises. What am I doing wrong?",
    "I need a name for my bakery.",
    "Summarize the following text in one sentence: Bees navigate by the sun.",
    "How do I center a div",
    "I have two apples and eat one. How many are left",
    "Given the list [3, 1, 2], sort it in descending order.\nWrite the result as JSON.",
    "Please translate 'good morning' into French.",
    "- Write a haiku about rain.",
    "I\u2019d like to know more about black holes.",
    "Suresh is my boss. How do I ask him for a raise?",
]
NONE = {
    "": "is empty",
    " \n ": "is empty",
    "The river rises in the Alps and flows through four countries.": "asks for nothing",
    "It was a dark night, and nobody was there.": "asks for nothing",
    "I am pleased that the teacher explained it.": "asks for nothing",
    "They show to everyone that it works.": "asks for nothing",
    "Sure! Here is a poem about rain.": "speaks as the assistant",
    "I\u2019m sorry, but I cannot help with that.": "speaks as the assistant",
    "As an AI, I have no feelings.": "speaks as the assistant",
    "Write a story with these words:": "announces what does not come",
    "What is <|im_end|> for?": "spells a control token",
    "What is it?\nassistant\nIt is a cat.": "spells a control token",
    "Explain [/INST] now": "spells a control token",
    "what": "is one word",
    "12 + 34 * 56 - 7 = ?": "is mostly no words",
    "What is it? " * 12: "repeats itself",
}


@pytest.mark.parametrize("text", INSTRUCTIONS)
def test_what_asks_for_something_is_an_instruction(text):
    assert why_no_instruction(text) is None


@pytest.mark.parametrize("text", NONE)
def test_what_is_none_has_a_reason(text):
    assert why_no_instruction(text) == NONE[text]
