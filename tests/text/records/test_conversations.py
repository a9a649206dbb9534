"""Shapes of demonstrations beyond the plain ones: content in parts, tools, judged answers, tasks that give several, few-shot prompts."""

import json

import pytest

from trivium.core.errors import DataError
from trivium.core.types import Message
from trivium.text.read import check_head, read_conversations, read_prompts

U, A, S, T = (lambda text, role=role: Message(role, text) for role in ("user", "assistant", "system", "tool"))
QA, QA9 = (U("q"), A("a")), (U("q"), A("9.8"))
CALL = '{"name": "f", "arguments": {"x": 1}}'
CALLED = f"<tool_call>\n{CALL}\n</tool_call>"
TOOL = {"type": "function", "function": {"name": "f", "description": "does", "parameters": {"x": {"type": "number"}}}}
# what Qwen 2.5's template writes, as its tokenizer_config.json has it
TOOLS_1 = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with function signatures within "
    "<tools></tools> XML tags:\n<tools>\n"
)
TOOLS_2 = (
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:\n"
    '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
)


def write(folder, record):
    path = folder / "a.jsonl"
    path.write_text(json.dumps(record) + "\n")
    return path


def said(role, *parts):
    return {"role": role, "content": [{"type": kind, "value": text} for kind, text in parts]}


SHAPES = {
    "wildchat": ({"language": "x", "conversation": [{"role": "user", "content": "q", "turn": 1}, {"role": "assistant", "content": "a"},
                  {"role": "user", "content": "?"}]}, [QA], {"language": "x"}),
    "roles in conversations": ({"conversations": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}, [QA], {}),
    "question": ({"question": "q", "answer": "a"}, [QA], {}),
    "context": ({"context": "c", "question": "q", "answer": "a"}, [(U("c\n\nq"), A("a"))], {}),
    "rationale": ({"question": "q", "answer": "a", "rationale": "r", "task": "t"}, [(U("q"), A("r\nSo the answer is a."))], {"task": "t"}),
    "no rationale": ({"question": "q", "answer": "a", "rationale": ""}, [QA], {"rationale": ""}),
    "rationale of a response": ({"question": "q", "response": "a", "rationale": "r"}, [QA], {"rationale": "r"}),
    "instruction answer": ({"instruction": "q", "answer": "a"}, [QA], {}),
    "query": ({"query": "q", "response": "a"}, [QA], {}),
    "number": ({"question": "q", "answer": 9.8}, [QA9], {}),
    "right answers": ({"question": "q", "answer": ["a", "b"]}, [QA], {"answer": ["a", "b"]}),  # NQ open
    "svamp": ({"ID": "1", "Body": "b. ", "Question": "q", "Answer": 51.0, "Type": "t"}, [(U("b. q"), A("51"))], {"ID": "1", "Type": "t"}),
    "truthfulqa": ({"Question": "q", "Best Answer": "a", "Correct Answers": "a; b"}, [QA], {"Correct Answers": "a; b"}),
    "mbpp": ({"text": "t.", "code": "c", "test_list": ["x", "y"]},
             [(U("t. Your code should pass these tests:\n\nx\ny"), A("c"))], {"test_list": ["x", "y"]}),
    "flan": ({"inputs": "q", "targets": "a", "task": "t"}, [QA], {"task": "t"}),
    "input target": ({"input": "q", "target": "a"}, [QA], {}),
    "input output": ({"input": "q", "output": "a"}, [QA], {}),
    "openorca": ({"id": "1", "system_prompt": "s", "question": "q", "response": "a"}, [(S("s"), *QA)], {"id": "1"}),
    "empty system": ({"system": "", "question": "q", "response": "a"}, [QA], {"system": ""}),
    "two systems": ({"system": "x", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"},
                     {"role": "assistant", "content": "a"}]}, [(S("s"), *QA)], {"system": "x"}),
    "seed task": ({"id": "1", "instruction": "i", "instances": [{"input": "x", "output": "y"}, {"input": "", "output": "z"}]},
                  [(U("i\n\nx"), A("y")), (U("i"), A("z"))], {"id": "1"}),
    "parts": ({"messages": [said("user", ("text", "q"), ("text", "?")), said("assistant", ("reasoning", "r"), ("text", "a"))]},
              [(U("q?"), A("<think>\nr\n</think>\n\na"))], {}),
    "tool parts": ({"messages": [said("user", ("text", "q")), said("assistant", ("tool_call", CALL)), said("tool", ("text", "1")),
                                 said("assistant", ("text", "a"))], "tools": "[]"},
                   [(U("q"), A(f"<tool_call>\n{CALL}\n</tool_call>"), T("1"), A("a"))], {"tools": "[]"}),
    "openai tools": ({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": None, "tool_calls": [
                         {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}]},
                         {"role": "tool", "content": "1", "tool_call_id": "1"}, {"role": "assistant", "content": "a"}]},
                     [(U("q"), A(f"<tool_call>\n{CALL}\n</tool_call>"), T("1"), A("a"))], {}),
    "called twice, after words": ({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "w", "tool_calls": [
                         {"function": {"name": "f", "arguments": {"x": 1}}}, {"function": {"name": "f", "arguments": {"x": 1}}}]},
                         {"role": "tool", "content": "1"}, {"role": "tool", "content": "2"}, {"role": "assistant", "content": "a"}]},
                         [(U("q"), A(f"w\n{CALLED}\n{CALLED}"), T("1"), T("2"), A("a"))], {}),
    "tools": ({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "tools": [TOOL, TOOL]},
              [(S(f"{TOOLS_1}{json.dumps(TOOL)}\n{json.dumps(TOOL)}{TOOLS_2}"), *QA)], {"tools": [TOOL, TOOL]}),
    "tools as text": ({"system": "s", "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}],
                       "tools": json.dumps([TOOL])},
                      [(S(f"s\n\n{TOOLS_1}{json.dumps(TOOL)}{TOOLS_2}"), *QA)], {"tools": json.dumps([TOOL])}),
    "weights": ({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "w", "weight": 0},
                 {"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "weight": 0.5}]},
                [(U("q"), Message("assistant", "w", 0.0), U("q"), Message("assistant", "a", 0.5))], {}),
    "no tools": ({"question": "q", "answer": "a", "tools": ["hammer"]}, [QA], {"tools": ["hammer"]}),
    "sharegpt tools": ({"conversations": [{"from": "human", "value": "q"}, {"from": "function_call", "value": CALL},
                                           {"from": "observation", "value": "1"}, {"from": "gpt", "value": "a"}]},
                       [(U("q"), A(f"<tool_call>\n{CALL}\n</tool_call>"), T("1"), A("a"))], {}),
    "few-shot": ({"instruction": "i", "pairs": [{"query": f"q{k}", "response": f"r{k}"} for k in (1, 2, 3)]}, [
        (U("i\n\nInput: q2\nOutput: r2\n\nInput: q3\nOutput: r3\n\nInput: q1\nOutput:"), A("r1")),
        (U("i\n\nInput: q1\nOutput: r1\n\nInput: q3\nOutput: r3\n\nInput: q2\nOutput:"), A("r2")),
        (U("i\n\nInput: q1\nOutput: r1\n\nInput: q2\nOutput: r2\n\nInput: q3\nOutput:"), A("r3"))], {}),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_a_published_shape_is_told_by_its_fields(tmp_path, shape):
    record, conversations, meta = SHAPES[shape]
    path = write(tmp_path, record)
    check_head(path, "conversations")
    read = list(read_conversations(path))
    assert [each.messages for each in read] == conversations
    assert all(each.meta == meta and each.weight == 1 for each in read)


@pytest.mark.parametrize(
    ("record", "prompts"),
    [
        (SHAPES["seed task"][0], [(U("i\n\nx"),), (U("i"),)]),
        (SHAPES["few-shot"][0], [turns[:-1] for turns in SHAPES["few-shot"][1]]),
        ({"turns": ["q", "and?"], "category": "x"}, [(U("q"),)]),
        ({"conversations": [{"from": "human", "value": "q"}]}, [(U("q"),)]),
        (
            {"conversations": [{"from": role, "value": text} for role, text in (("human", "q"), ("gpt", "a"), ("human", "r"))]},
            [(*QA, U("r"))],
        ),
        ({"question": "q", "answer": ["a", "b"]}, [(U("q"),)]),
        ({"prompt": "p", "test_list": ["x"]}, [(U("p Your code should pass these tests:\n\nx"),)]),
        ({"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b"}, [(U("q"),)]),
    ],
    ids=["seed task", "few-shot", "mt-bench", "sharegpt question", "sharegpt chat", "open question", "task with tests", "hh"],
)
def test_prompts_are_the_turns_before_the_answer(tmp_path, record, prompts):
    path = write(tmp_path, record)
    check_head(path, "prompts")
    assert list(read_prompts(path)) == prompts


@pytest.mark.parametrize(
    "shape", [{"prompt": "q", "completion": "a"}, {"messages": [said("user", ("text", "q")), said("assistant", ("text", "a"))]}]
)
@pytest.mark.parametrize(
    ("fields", "weight"), [({"label": True}, 1), ({"label": False}, 0), ({"label": False, "weight": 0.5}, 0.5), ({"label": 0}, 1)]
)
def test_an_answer_that_was_judged_bad_is_kept_with_weight_0(tmp_path, shape, fields, weight):
    [conversation] = read_conversations(write(tmp_path, {**shape, **fields}))
    assert (conversation.messages, conversation.weight, conversation.meta) == (QA, weight, {"label": fields["label"]})


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({"question": "q"}, "'response' or 'completion' is missing"),
        ({"question": "q", "answer": ["a", 1]}, r"'answer\[0\]' is text; an object with role and content"),
        ({"question": "q", "answer": []}, "'answer' is an empty list"),
        ({"question": "q", "response": 3}, "'response' is a number"),
        ({"text": "t", "code": "c", "test_list": []}, "'test_list' is empty; a list of tests is expected"),
        ({"text": "t", "code": "c", "test_list": ["x", 1]}, r"'test_list\[1\]' is a number"),
        ({"question_id": 101, "choices": [{"turns": ["a"]}]}, "names its question by 'question_id' only"),
        ({"question": "q", "answer": "a", "rationale": 3}, "'rationale' is a number"),
        ({"question": None, "answer": "a"}, "'question' is null"),
        ({"question": "q", "answer": "a", "context": ["c"]}, "'context' is a list"),
        ({"system": 3, "question": "q", "answer": "a"}, "'system' is a number"),
        ({"instruction": "i", "instances": []}, "'instances' is empty; a list of objects with input and output is expected"),
        ({"instruction": "i", "instances": ["x"]}, r"'instances\[0\]' is text without input or output"),
        ({"instruction": "i", "instances": [{"input": "x", "output": "y"}, {"input": "x"}]}, r"'instances\[1\]' is an object without"),
        ({"instruction": "i", "instances": [{"input": "x", "output": None}]}, r"'instances\[0\].output' is null"),
        ({"instances": [{"input": "x", "output": "y"}]}, "'messages' is missing"),
        ({"instruction": "i", "pairs": {}}, "'pairs' is empty"),
        ({"messages": [said("user", ("text", 3))]}, r"'messages\[0\].content\[0\].value' is a number"),
        (
            {"messages": [said("user", ("audio", "x"))]},
            "type' is 'audio'; only text can be read, that is one of: text, reasoning, tool_call",
        ),
        ({"messages": [{"role": "assistant", "content": None}]}, r"'messages\[0\].content' is null"),
        ({"messages": [{"role": "assistant", "content": None, "tool_calls": "f"}]}, "tool_calls' is text; a list of calls"),
        ({"messages": [{"role": "assistant", "content": "a", "weight": -1}]}, r"messages\[0\].weight' is -1; a number of at least 0"),
        ({"messages": [{"role": "assistant", "content": None, "tool_calls": [{}]}]}, r"tool_calls\[0\]' has no object `function`"),
        ({"messages": [{"role": "assistant", "content": None, "tool_calls": [{"function": {}}]}]}, "function.name' is null"),
        ({"conversations": [{"from": "human", "value": "q"}], "chosen": "a", "rejected": "b"}, "is a preference"),
        ({"conversation": [{"role": "user", "content": "q"}]}, "'conversation' has no answer"),
        ({"conversation": [{"role": "assistant", "content": "a"}]}, "'conversation' must begin with the user"),
        ({"conversations": ["q"]}, r"'conversations\[0\]' is text; an object with from and value"),
        ({"turns": []}, "'turns' is empty; a list of texts is expected"),
    ],
)
def test_a_wrong_conversation_is_one_line_with_file_line_and_field(tmp_path, record, problem):
    with pytest.raises(DataError, match=problem) as caught:
        list(read_conversations(write(tmp_path, record)))
    assert str(caught.value).startswith(f"{tmp_path}/a.jsonl line 1: ")
