"""magpie: a chat model writes instructions and their answers from nothing but its own chat template."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from trivium.core.config import KEEPS_REST, component
from trivium.core.run import Run
from trivium.generate.sampling import Sampling
from trivium.nn.flops import num_parameters
from trivium.stages.base import Foresight, Work, check_model, commit_rows, known_model
from trivium.stages.written import CHATS, VALID, WRITTEN, Written


@component
class Magpie:
    """Leaves `@magpie/chats/written.jsonl`, conversations for `finetune`, `curate` and (their prompts) `sample`.

    The model is given the beginning of a user's turn and goes on (`asking`); what it says there is put to it like anybody's question
    (`answering`). count: queries that are written; those that do not end, or have no whole answer, are counted and dropped. turns: of the
    user in each conversation, at most. domains: name -> a system turn that steers what is asked ("": none); they take turns, and answers
    never see them. one_line: a query ends with its first line, as published; otherwise with its end token. rows: texts that are written
    together. results.json has the share of queries that are instructions (docs/magpie.md). Killed, it goes on where it was.
    """

    kind: Literal["magpie"] = "magpie"
    model: str
    count: int = Field(default=1000, gt=0)
    turns: int = Field(default=1, gt=0, le=100)
    domains: dict[str, str] = Field(default={})
    asking: Annotated[Sampling, KEEPS_REST] = Sampling(temperature=0.8, top_p=0.95, max_new_tokens=128)
    answering: Annotated[Sampling, KEEPS_REST] = Sampling(temperature=0, max_new_tokens=512)
    one_line: bool = False
    rows: int = Field(default=64, gt=0)

    def check(self) -> None:
        check_model(self.model)

    def foresee(self, name: str, known: Foresight) -> Work:
        config = known_model(known, self.model)
        tokens = self.count * self.turns * (self.asking.max_new_tokens + self.answering.max_new_tokens)  # at most
        known.num_prompts[f"@{name}/{CHATS}/{WRITTEN}"] = self.count
        return Work(tokens_generated=tokens, parameters_sampled=num_parameters(config))

    def run(self, run: Run) -> Mapping[str, Any]:
        from trivium.stages.computing.dialogues import write_dialogues

        drafts, found = write_dialogues(self, run), Written()
        tokens = 0

        def rows() -> Iterator[dict[str, Any]]:
            nonlocal tokens
            for draft in drafts():
                found.add(draft.turns, draft.fate or None, draft.verdict)
                tokens += draft.tokens
                if not draft.fate:
                    yield draft.record

        commit_rows(run.folder / CHATS, {WRITTEN: rows()}, kind="chats")
        found.leave(run, "valid_share")
        return {"tokens": tokens, "queries": self.count, "conversations": found.funnel.kept.documents, "valid": found.verdicts[VALID]}
