"""A model that is shown tasks writes more of them, round by round on disk.

A round is a piece, committed below the stage's checkpoints when it is whole; what was kept in the rounds before is read back from them, so
a stage that was killed goes on after its last round. What is asked depends on (seed, name of the stage, number of the request) and on what
was kept in the rounds before, of which own_shown are shown: so rows, the requests of a round, change what is written. A stage stops at
`count` kept tasks, which may be in the middle of a round.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from trivium.core.errors import DataError
from trivium.core.run import CHECKPOINTS, Run
from trivium.core.seeds import generator
from trivium.core.types import Message
from trivium.stages.computing.models import Speaker, engine_of, one_chat
from trivium.stages.pieces import Pieces
from trivium.synth.self_instruct import MALFORMED, Pool, Task, parse, request, why_unfit
from trivium.text.chat import start_ids

if TYPE_CHECKING:
    from trivium.stages.self_instruct import SelfInstruct

KIND = "tasks that a model wrote"


def write_tasks(options: SelfInstruct, run: Run, seeds: list[Task]) -> Iterator[dict[str, Any]]:
    """A row for each task that was written {instruction, input, output, reason}, reason "" for those that are kept, in order."""
    speaker = one_chat(Speaker.of(run, options.model))
    engine = engine_of(run, speaker, rows=options.rows)
    pieces, pool, kept = Pieces(run.folder / CHECKPOINTS, KIND), Pool(), list[Task]()
    for task in seeds:
        pool.takes(task.instruction)
    with run.progress(options.count) as progress:
        for number, first in enumerate(range(0, options.requests, options.rows)):
            is_there = pieces.has(run, number)
            if not is_there:
                asked = [_request(options, run, at, seeds, kept) for at in range(first, min(options.requests, first + options.rows))]
                prompts = [_prompt(options, speaker, *each) for each in asked]
                said = engine.generate(
                    prompts, options.sampling, seed=run.seed, purpose=run.stage, numbers=range(first, first + len(prompts)),
                )  # fmt: skip
                texts = [
                    (begins + speaker.text_of(each), bool(each.meta["stopped"])) for (_, begins), each in zip(asked, said, strict=True)
                ]
                pieces.write(number, _judged(texts, options.shown + options.own_shown + 1, pool))
            for row in pieces.rows(number):
                yield row
                if not row["reason"]:
                    kept.append(Task(row["instruction"], row["input"], row["output"]))
                    if is_there:
                        pool.takes(row["instruction"])
                if len(kept) == options.count:
                    break
            if is_there:
                progress.start_at(len(kept))
            speed = (len(kept) - progress.first) / progress.seconds
            progress.update(len(kept), f"{speed:.2f} instructions/s, {first + options.rows:,} requests")
            if len(kept) == options.count:
                return


def _request(options: SelfInstruct, run: Run, number: int, seeds: list[Task], kept: list[Task]) -> tuple[str, str]:
    """The text of a request, with examples by lot from what people and, once there is enough, from what the model wrote."""
    draw = generator(run.seed, f"{run.stage} examples", number)
    num_own = min(options.own_shown, len(kept))
    num_seeds = options.shown + options.own_shown - num_own
    if num_seeds > len(seeds):
        raise DataError(f"{num_seeds} tasks are to be shown, but there are {len(seeds)}; lower shown, or give more seeds")
    examples = [seeds[place] for place in draw.choice(len(seeds), num_seeds, replace=False)]
    examples += [kept[place] for place in draw.choice(len(kept), num_own, replace=False)] if num_own else []
    return request([examples[place] for place in draw.permutation(len(examples))])


def _prompt(options: SelfInstruct, speaker: Speaker, text: str, begins: str) -> np.ndarray:
    """As a question whose answer is begun, or as text that goes on."""
    tokenizer = speaker.tokenizer
    if options.form == "chat":
        ids = speaker.prompt((Message("user", text),), begins)
    else:
        start = np.array(start_ids(tokenizer, speaker.chat), np.int32)
        ids = np.concatenate([start, tokenizer.encode_after("control" if len(start) else "nothing", text + begins)])
    reads = speaker.model.config.max_seq_len
    if len(ids) >= reads:
        raise DataError(f"a request has {len(ids):,} tokens, and the model reads {reads:,}, so there is no room for tasks; lower shown")
    return ids


def _judged(texts: list[tuple[str, bool]], first: int, pool: Pool) -> Iterator[dict[str, Any]]:
    """Every task of the answers with why it is not kept."""
    for text, is_whole in texts:
        for task in parse(text, first, is_whole=is_whole):
            if isinstance(task, str):
                yield {"instruction": task[:500], "input": "", "output": "", "reason": MALFORMED}
                continue
            reason = why_unfit(task.instruction)
            if reason is None and not pool.takes(task.instruction):
                reason = "is like an earlier one"
            yield asdict(task) | {"reason": reason or ""}
