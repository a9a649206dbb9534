"""self_instruct: a model that is shown tasks writes more of them, with their answers."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from trivium.core.config import KEEPS_REST, component
from trivium.core.run import Run
from trivium.core.types import Message
from trivium.generate.sampling import Sampling
from trivium.nn.flops import num_parameters
from trivium.stages.base import Foresight, Work, check_model, commit_rows, known_model, resolve
from trivium.stages.written import CHATS, WRITTEN, Written
from trivium.synth.self_instruct import Task, read_tasks, shown_tasks


@component
class SelfInstruct:
    """Leaves `@self_instruct/chats/written.jsonl`, conversations for `finetune`, `curate` and (their prompts) `sample`.

    Any model is shown tasks and goes on with the list. count: tasks to be kept; requests: how often it is asked for them at most. shown,
    own_shown: how many of the seeds and of its own tasks it sees each time, 3 and 0 as Alpaca, 6 and 2 as Self-Instruct. seeds: a file of
    tasks instead of ours (Self-Instruct's 175 are read). form: `chat` asks as a user would, `text` lets a base model go on with the text.
    rows: requests that are answered together. What is malformed, unfit or like an earlier task (ROUGE-L above 0.7) is counted and
    dropped (docs/magpie.md). Killed, it goes on where it was.
    """

    kind: Literal["self_instruct"] = "self_instruct"
    model: str
    seeds: str = ""
    count: int = Field(default=1000, gt=0)
    requests: int = Field(default=2000, gt=0)
    shown: int = Field(default=3, gt=0)
    own_shown: int = Field(default=0, ge=0)
    form: Literal["chat", "text"] = "chat"
    sampling: Annotated[Sampling, KEEPS_REST] = Sampling(max_new_tokens=512)
    rows: int = Field(default=64, gt=0)

    def check(self) -> None:
        check_model(self.model)
        if self.seeds and not self.seeds.startswith("@"):
            read_tasks(self.seeds)

    def foresee(self, name: str, known: Foresight) -> Work:
        known.num_prompts[f"@{name}/{CHATS}/{WRITTEN}"] = self.count
        most = self.requests * self.sampling.max_new_tokens
        return Work(
            tokens_generated=most, parameters_sampled=num_parameters(known_model(known, self.model)), notes=("if all requests are needed",)
        )

    def run(self, run: Run) -> Mapping[str, Any]:
        from trivium.stages.computing.task_rounds import write_tasks

        seeds = read_tasks(resolve(run, self.seeds)) if self.seeds else shown_tasks()
        found = Written()

        def rows() -> Iterator[dict[str, Any]]:
            for row in write_tasks(self, run, seeds):
                task = Task(row["instruction"], row["input"], row["output"])
                reason = row["reason"] or None
                found.add([Message("user", task.asked), Message("assistant", task.output)], reason, reason)
                if reason is None:
                    yield {"messages": task.messages}

        commit_rows(run.folder / CHATS, {WRITTEN: rows()}, kind="chats")
        found.leave(run, "kept_share")
        count = found.funnel.kept.documents
        if count < self.count:
            run.log(f"{count:,} of {self.count:,} tasks after {self.requests:,} requests, which is all that were allowed; raise requests")
        return {"conversations": count}
