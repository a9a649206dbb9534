"""What became of conversations that a model wrote: a funnel with samples of what was dropped, verdicts, and a table of the first ones."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from trivium.core.errors import DataError
from trivium.core.run import Run
from trivium.core.types import Document, Message
from trivium.report.intervals import share_interval
from trivium.stages.base import result_row
from trivium.text.pipeline import Funnel

CHATS, WRITTEN, KEPT, DROPPED = "chats", "written.jsonl", "kept.jsonl", "dropped.jsonl"
VALID = "valid"
SHOWN = 100  # conversations in the report
_SHOWN_CHARS = 600  # of a turn


@dataclass(slots=True)
class Written:
    """What is counted while conversations are written or chosen. verdicts: what was said of each -> of how many."""

    funnel: Funnel = field(default_factory=Funnel)
    verdicts: Counter[str] = field(default_factory=Counter)
    shown: list[dict[str, str]] = field(default_factory=list)

    def add(self, turns: Sequence[Message], reason: str | None, verdict: str | None) -> None:
        """Count one. reason: why it is dropped, None if it is not. verdict: why it is no conversation to learn from, None if it is one."""
        text = "\n\n".join(turn.content for turn in turns)
        size_bytes = len(text.encode(errors="replace"))
        self.funnel.read.add(size_bytes)
        if reason is None:
            self.funnel.kept.add(size_bytes)
        else:
            self.funnel.drop(Document(text), reason, size_bytes=size_bytes)
        self.verdicts[verdict or VALID] += 1
        if len(self.shown) < SHOWN:
            said = [turn.content[:_SHOWN_CHARS] for turn in turns]
            query, answer = (said[0] if said else ""), "\n\n".join(said[1:])
            self.shown.append({"query": query, "answer": answer, "verdict": verdict or VALID})

    def leave(self, run: Run, measure: str) -> None:
        """Write the share of what is valid (results.json, called `measure`), funnel.json and written.json, and say it."""
        total = self.funnel.read.documents
        if not total:
            raise DataError("the model wrote nothing that could be read; ask for more, or another model")
        value, low, high = share_interval(self.verdicts[VALID], total)
        row = result_row(run.stage, measure, (value, low, high), total)
        told = {"verdicts": dict(self.verdicts.most_common()), "shown": self.shown}
        for name, content in (("results.json", [row]), ("funnel.json", self.funnel.to_report()), ("written.json", told)):
            run.leave(name, content)
        run.log(f"{self.funnel.kept.documents:,} of {total:,} kept; {measure} {value:.1%} [{low:.1%}, {high:.1%}]")
        for verdict, number in self.verdicts.most_common():
            run.log(f"{number:>7,}  {verdict}")
