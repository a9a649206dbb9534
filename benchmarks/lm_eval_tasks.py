"""Our tasks as lm-eval's: the same contexts and continuations in a JSON lines file, and the options that make lm-eval ask them.

Prompts are written out with all examples, so both sides ask the very same text and only tokenizing, scoring and averaging differ.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trivium.evals.scoring import Answer, Choices, Continuation, Pair, Text
from trivium.evals.task import Item, NamedTask


def as_lm_eval(named: NamedTask, items: Sequence[Item], folder: Path) -> dict[str, Any]:
    """Write the items into `folder` and return the options of lm-eval's task. Answers are compared as texts, by whoever asks."""
    file = folder / f"{named.name}.jsonl"
    file.write_text("".join(json.dumps(_record(named, item)) + "\n" for item in items))
    common = {
        "task": f"trivium_{named.name}", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(file)}},
        "test_split": "test", "num_fewshot": 0, "target_delimiter": "",
    }  # fmt: skip
    return common | _options(named)


def _record(named: NamedTask, item: Item) -> dict[str, Any]:
    scoring = named.task.scoring
    requests = named.requests(item)
    if isinstance(scoring, Choices | Pair):
        gold = scoring.right(item.fields, named.where)[0] if isinstance(scoring, Choices) else 0
        if isinstance(scoring, Choices) and scoring.ending:
            return {"contexts": [each.context for each in requests], "ending": requests[0].continuation, "gold": gold}
        return {"context": requests[0].context, "choices": [each.continuation for each in requests], "gold": gold}
    if isinstance(scoring, Answer):
        return {"context": item.context, "target": ""}
    return {"context": requests[0].context, "target": requests[0].continuation}


def _options(named: NamedTask) -> dict[str, Any]:
    scoring = named.task.scoring
    if isinstance(scoring, Choices | Pair):
        has_ending = isinstance(scoring, Choices) and bool(scoring.ending)
        fields = ("gold", "ending", "contexts") if has_ending else ("context", "gold", "choices")
        asked = dict(zip(("doc_to_text", "doc_to_target", "doc_to_choice"), fields, strict=True))
        return {"output_type": "multiple_choice", **asked, "metric_list": _metrics("acc")}
    if isinstance(scoring, Continuation):
        return {"output_type": "loglikelihood", "doc_to_text": "context", "doc_to_target": "target", "metric_list": _metrics("acc")}
    if isinstance(scoring, Text):
        return {
            "output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "target", "metric_list": _metrics("bits_per_byte"),
        }  # fmt: skip
    return {
        "output_type": "generate_until", "doc_to_text": "context", "doc_to_target": "target", "metric_list": _metrics("bypass"),
        "generation_kwargs": {"until": list(scoring.stop), "max_gen_toks": scoring.max_new_tokens, "do_sample": False, "temperature": 0.0},
    }  # fmt: skip


def _metrics(name: str) -> list[dict[str, Any]]:
    """What lm-eval computes; the comparison is of likelihoods and texts, which every metric follows from."""
    return [{"metric": name}]
