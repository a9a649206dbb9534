"""Whatever a row holds, it becomes records or one line that names its place."""

import json

import pytest
from hypothesis import given, settings, strategies as st

from trivium.core.errors import DataError
from trivium.text.read import read_conversations, read_matches, read_preferences, read_prompt_log, read_prompts

FIELDS = (
    "answer chosen chosen_messages completions conversation conversations info instances instruction label labels message_id"
    " message_tree_id messages parent_id pairs preference prompt question ranking rationale rejected rejected_messages"
    " responses rewards_armorm scores summaries system text turns user_id weight history human_ref_A human_ref_B output_1"
    " output_2 choice annotator1 response1 response2 role choices gold answerKey ans0 ans1 ans2 Body Question Answer code test_list"
    " question_id baseline_output outputs answer_matching_behavior answer_not_matching_behavior chosen_instruction rejected_instruction"
)
OF_MATCHES = (
    "model_a model_b winner score values answers prompt response_a response_b conversation_a conversation_b generator_1 generator_2"
    " preference output_1 output_2 baseline baseline_output outputs instruction_id instruction x y question_id model turn user_prompt"
)
INNER = (
    "content from value role text type tool_calls function name arguments replies rank deleted review_result response overall_score"
    " annotations Rating post title subreddit input output query solution is_correct score"
)
WORDS = ["prompter", "assistant", "user", "human", "gpt", "text", "tool_call", "\n\nHuman: q\n\nAssistant: a", "A>B", "N/A", "\ud800", ""]
SIMPLE = st.none() | st.booleans() | st.integers(-1, 3) | st.sampled_from([0.5, 1e999, 10**400]) | st.sampled_from(WORDS)
VALUE = st.recursive(
    SIMPLE, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(INNER.split()), inner, max_size=6), max_leaves=16
)


@pytest.mark.parametrize("read", [read_conversations, read_preferences, read_prompts, read_prompt_log])
@given(rows=st.lists(st.dictionaries(st.sampled_from(FIELDS.split()), VALUE, max_size=7), min_size=1, max_size=3))
@settings(max_examples=150, deadline=None)
def test_any_row_gives_records_or_a_line_with_its_place(tmp_path_factory, read, rows):
    path = tmp_path_factory.mktemp("any") / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    skipped = []
    list(read(path, on_skip=skipped.append))
    assert all(str(error).startswith(f"{path} line ") and "\n" not in str(error) for error in skipped)


@given(rows=st.lists(st.dictionaries(st.sampled_from(OF_MATCHES.split()), VALUE, max_size=9), min_size=1, max_size=3))
@settings(max_examples=150, deadline=None)
def test_any_row_is_a_match_or_a_line_with_its_place(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("any") / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found, errors = [], []
    try:
        found = list(read_matches(path))
    except DataError as error:
        errors.append(str(error))
    assert all(error.startswith(f"{path} line ") for error in errors)
    assert all(0 <= match.score <= 1 for match in found)
    assert all(len(set(match.models)) == 2 for match in found)
