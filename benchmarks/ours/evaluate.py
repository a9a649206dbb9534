"""trivium's harness: the first items of a task a tick."""

from typing import Any

from benchmarks.peers.rounds import Rounds, options
from trivium.core.world import prepare_environment


def evaluate(want: dict[str, Any], rounds: Rounds) -> None:
    """Evaluate until nothing more is wanted."""
    import torch

    from trivium.evals.harness import in_order, rows_of
    from trivium.evals.task import NamedTask
    from trivium.stages.computing.subjects import load_subject

    torch.set_num_threads(want["threads"])
    subject = load_subject(want["model"], rows=want["rows"])
    torch.set_num_threads(want["threads"])
    items: dict[str, Any] = {}
    while True:
        request = rounds.tick()
        reference = request["reference"]
        named = NamedTask.read(reference)
        if reference not in items:
            items[reference] = named.items(request["limit"])
        pieces = in_order(items[reference][: request["items"]])
        rows = [row for piece in pieces for row in rows_of(subject, named, piece, request_rule(), seed=1)]
        rows.sort(key=lambda row: row["item"])
        rounds.facts = {"items": [said(row) for row in rows]}


def said(row: dict[str, Any]) -> list[Any]:
    """Texts, or log-probs; of a text that should follow with whether it is greedy."""
    if "nats" in row["scores"]:
        return [[logprob, row["scores"]["acc"] == 1] for logprob in row["logprobs"]]
    return row.get("responses", row.get("logprobs"))


def request_rule() -> Any:
    """Answers are compared as texts, so what they are worth does not matter."""
    from trivium.score.rewards import Length

    return Length(max_words=1)


if __name__ == "__main__":
    prepare_environment()
    evaluate(options(), Rounds())
