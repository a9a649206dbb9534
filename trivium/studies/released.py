"""The tables that Pythia's authors published with their models, read as CSV: evaluations over training, and arithmetic by operand.

github.com/EleutherAI/pythia, evals/ and case-studies/, put together into one table of rows each: run, shots, step, task, metric, value;
and model, checkpoint, task, fewshot, acc. The same statistics judge them as our own runs.
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trivium.core.errors import DataError
from trivium.report.intervals import mean_interval
from trivium.text.rows import rows

TASKS = ("lambada_openai", "piqa", "winogrande", "wsc", "arc_easy", "arc_challenge", "sciq", "logiqa")
SIZES = ("70m", "160m", "410m", "1b", "1.4b", "2.8b", "6.9b", "12b")
SMALLER_BATCHES = {"70m": "0.25M", "160m": "0.5M", "410m": "0.5M", "1b": "0.5M", "1.4b": "1M"}  # tokens; the suite's are 2M
ARITHMETIC = "num_reasoning_arithmetic_"  # what tasks begin with; the operation and the first operand follow
Scores = Mapping[tuple[str, str], float]  # (task, metric) -> value
Span = tuple[float, float | None, float | None]  # a value and the ends of its 95 % interval, None where there is none


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean of accuracies (0 to 1) with its standard error, sampling of the questions alone."""

    mean: float
    error: float


def read_evaluations(path: Path) -> dict[tuple[str, str], dict[int, Scores]]:
    """(run, zero-shot or five-shot) -> step -> scores. Runs whose files did not say were five-shot."""
    found: dict[tuple[str, str], dict[int, dict[tuple[str, str], float]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows(path):
        run, step = (row.text("run"), row.text("shots") or "five-shot"), int(row.finite("step"))
        found[run][step][row.text("task"), row.text("metric")] = row.finite("value")
    return {run: dict(steps) for run, steps in found.items()}


def task_means(evaluations: Mapping[tuple[str, str], Mapping[int, Scores]], shots: str = "zero-shot") -> list[tuple[str, Mean, Mean]]:
    """(size, standard, deduplicated): means over the eight tasks at the last step, of every size that has both."""
    found = []
    for size in SIZES:
        standard, deduplicated = _standard(size, shots, evaluations), (f"pythia-{size}-deduped", shots)
        if standard in evaluations and deduplicated in evaluations:
            found.append((size, _mean_of(_last(evaluations[standard])), _mean_of(_last(evaluations[deduplicated]))))
    return found


def batch_pairs(evaluations: Mapping[tuple[str, str], Mapping[int, Scores]], task: str = "lambada_openai") -> list[tuple[str, Mean, Mean]]:
    """(size, 2M tokens, smaller batch): five-shot accuracy at the last step, for as many tokens."""
    found = []
    for size, batch in SMALLER_BATCHES.items():
        standard, smaller = _standard(size, "five-shot", evaluations), (f"pythia-{size}-{batch}tokBS", "five-shot")
        if standard in evaluations and smaller in evaluations:
            found.append((size, _one(_last(evaluations[standard]), task), _one(_last(evaluations[smaller]), task)))
    return found


def arithmetic_means(path: Path, shots: int = 16) -> dict[tuple[str, str], dict[int, Span]]:
    """(model, addition or multiplication) -> checkpoint -> accuracy, 0 to 1, over all first operands, with its 95 % interval."""
    sums: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows(path):
        if row.finite("fewshot") == shots:
            model, task = row.text("model").rpartition("/")[2], row.text("task")
            if not task.startswith(ARITHMETIC):
                row.fail(f"'task' is {task!r}; {ARITHMETIC}addition_X or {ARITHMETIC}multiplication_X is expected")
            sums[model, task.removeprefix(ARITHMETIC).split("_")[0]][int(row.finite("checkpoint"))].append(row.finite("acc"))
    return {name: {step: mean_interval(values) for step, values in sorted(steps.items())} for name, steps in sums.items()}


def _standard(size: str, shots: str, evaluations: Mapping[tuple[str, str], object]) -> tuple[str, str]:
    """The run on text that was not deduplicated; that of 1b is called by its precision."""
    name = f"pythia-{size}"
    return (name, shots) if (name, shots) in evaluations else (f"{name}-bf16", shots)


def _last(steps: Mapping[int, Scores]) -> Scores:
    return steps[max(steps)]


def _mean_of(scores: Scores) -> Mean:
    parts = [_one(scores, task) for task in TASKS]
    return Mean(sum(part.mean for part in parts) / len(parts), math.sqrt(sum(part.error**2 for part in parts)) / len(parts))


def _one(scores: Scores, task: str) -> Mean:
    for metric in ("acc", "acc_stderr"):
        if (task, metric) not in scores:
            raise DataError(f"the table of evaluations has no '{metric}' of {task} at its last step")
    return Mean(scores[task, "acc"], scores[task, "acc_stderr"])
