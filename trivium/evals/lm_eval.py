"""lm-eval both ways: our models are asked by it, and its tasks are asked of our models (`pip install 'trivium[eval]'`).

    lm_eval.simple_evaluate(TriviumLM(load_subject("runs/mine/finetune/model")), tasks=["piqa"])
    trivium evaluate model=runs/mine/finetune/model tasks=[lm_eval:piqa]

Left out: chat templates, since text never becomes control tokens here (a task of ours with `is_chat` has them), and tasks of lm-eval that
run what a model wrote, which it does without a sandbox.
"""

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.tasks import TaskManager

from trivium.core.errors import DataError, TriviumError
from trivium.evals.scoring import Request
from trivium.evals.subject import Subject
from trivium.generate.sampling import Sampling

Row = dict[str, Any]


class TriviumLM(LM):
    """One of our models as lm-eval sees one. Answers are greedy unless a task says otherwise; seed: of those that are drawn."""

    def __init__(self, subject: Subject, *, seed: int = 1) -> None:
        super().__init__()
        self.subject, self.seed = subject, seed

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """(log-prob, whether it is greedy) of each continuation."""
        return self._likelihoods([Request(*request.args) for request in requests])

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Log-prob of each text."""
        return [logprob for logprob, _ in self._likelihoods([Request("", request.args[0], is_whole=True) for request in requests])]

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """An answer to each context, up to the first of its stop texts. Raises DataError for an option that is not known here."""
        answers = [""] * len(requests)
        kinds: dict[str, list[int]] = {}
        for number, request in enumerate(requests):
            kinds.setdefault(json.dumps(request.args[1], sort_keys=True), []).append(number)
        for options, numbers in kinds.items():
            sampling, stop = _generation(json.loads(options))
            prompts = self.subject.encode([requests[number].args[0] for number in numbers])
            found = self.subject.answer(prompts, sampling, stop, seed=self.seed, purpose="lm-eval", numbers=numbers)
            for number, (text, _) in zip(numbers, found, strict=True):
                answers[number] = text
        return answers

    def _likelihoods(self, requests: Sequence[Request]) -> list[tuple[float, bool]]:
        """The longest first, those of one context together."""
        order = sorted(range(len(requests)), key=lambda number: (-len(requests[number].context), requests[number].context, number))
        found = self.subject.likelihoods([requests[number] for number in order])
        answers = dict(zip(order, found, strict=True))
        return [(answers[number].logprob, answers[number].is_greedy) for number in range(len(requests))]


def rows_of_task(subject: Subject, name: str, *, limit: int | None = None) -> list[Row]:
    """A row an item, as `harness.py` has them, of a task, group or tag of lm-eval, or of a task in a YAML file.

    Raises DataError in one line if lm-eval cannot load it, or it runs what the model wrote.
    """
    path = Path(name)
    try:
        is_file = path.is_file()
        manager = TaskManager(include_path=str(path.parent) if is_file else None, include_defaults=not is_file)
        wanted = _name_in(path) if is_file else name
        found = simple_evaluate(TriviumLM(subject), tasks=[wanted], limit=limit, bootstrap_iters=0, task_manager=manager)
    except TriviumError:
        raise
    except Exception as error:  # of any library that a task of its uses
        raise DataError(f"lm_eval:{name}: {type(error).__name__}: {str(error)[:300]}") from None
    samples: dict[str, list[dict[str, Any]]] = found["samples"] if found else {}
    rows = [row for task, items in samples.items() for row in _rows(task if len(samples) > 1 else "", items)]
    if not rows:
        raise DataError(f"lm_eval:{name}: gives no number for an item that could be averaged")
    return [{**row, "item": number} for number, row in enumerate(rows)]


def _name_in(path: Path) -> str:
    """The name that a task's YAML file gives it."""
    found = re.search(r"(?m)^task:\s*['\"]?([^\s'\"]+)", path.read_text(encoding="utf-8"))
    if found is None:
        raise DataError(f"{path}: names no task; a task of lm-eval has a line 'task: NAME'")
    return found[1]


def _rows(group: str, items: Sequence[dict[str, Any]]) -> list[Row]:
    """One task's rows: the measures of all filters of an item together."""
    filters = list(dict.fromkeys(str(item["filter"]) for item in items))
    rows: dict[int, Row] = {}
    for item in items:
        row = rows.setdefault(item["doc_id"], {"group": group, "scores": {}, "responses": []})
        for metric in item["metrics"]:
            name = metric if len(filters) == 1 else f"{metric} {item['filter']}"
            if (score := _score(metric, item[metric])) is not None:
                row["scores"][name] = score
        row["responses"] = [response for responses in item["resps"] for response in responses]
    return [row for _, row in sorted(rows.items()) if row["scores"]]


def _score(metric: str, value: Any) -> float | list[float] | None:
    """An item's number; of likelihoods that are summed over something, the pair as `measures.py` has it; None of what has no mean."""
    if isinstance(value, np.generic):
        value = value.item()  # numpy's bool and int are no subclasses of Python's
    if isinstance(value, (tuple, list)) and len(value) == 2 and metric.endswith(("perplexity", "bits_per_byte")):
        return [-float(value[0]) / (math.log(2) if metric == "bits_per_byte" else 1.0), float(value[1])]
    if not isinstance(value, (bool, int, float)):
        return None
    return -float(value) if metric == "perplexity" else float(value)


def _generation(options: dict[str, Any]) -> tuple[Sampling, list[str]]:
    known = {"until", "max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens", "do_sample", "temperature", "top_p", "top_k"}
    if unknown := sorted(options.keys() - known):
        raise DataError(f"a task of lm-eval sets {unknown[0]} for its answers, which is not known here; known: {', '.join(sorted(known))}")
    found = normalize_gen_kwargs(options)
    temperature = float(found.get("temperature") or 0.0)
    cut = {"top_p": float(found.get("top_p", 1.0)), "top_k": int(found.get("top_k", 0))}
    sampling = Sampling(temperature=temperature, max_new_tokens=found["max_gen_toks"], **cut)
    return sampling, [text for text in found["until"] if text]
