"""curate: of conversations that models wrote, those that are worth learning from."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from trivium.core.config import component
from trivium.core.errors import DataError
from trivium.core.run import Run
from trivium.core.types import Conversation
from trivium.stages.base import Foresight, Work, check_data, check_model, commit_rows, data_source
from trivium.stages.written import CHATS, DROPPED, KEPT, Written
from trivium.synth.filters import ChatFilter, Judged, Length, NearDuplicates, ReadingFilter, Repetition, Reward, Valid
from trivium.text.read import read_conversations
from trivium.text.signals import Reasons
from trivium.text.write import plain_turns


@component
class Curate:
    """Leaves `@curate/chats/kept.jsonl`, the conversations of `data` that every filter keeps, and dropped.jsonl, with the reason.

    filters: in order, each sees what those before it keep; put what costs little first (docs/magpie.md lists them). The report shows how
    many each dropped, with samples. Nothing is changed, so filtering again changes nothing, but for what is measured against the others
    (near_duplicates, longest). Killed, it goes on where it was.
    """

    kind: Literal["curate"] = "curate"
    data: str
    filters: tuple[ChatFilter, ...] = Field(default=(Valid(), Length(), Repetition()), min_length=1)

    def check(self) -> None:
        check_data(self.data, "conversations")
        for rule in self.filters:
            for model in _models(rule):
                check_model(model)
            if isinstance(rule, Judged):
                rule.judge().endpoint()

    def foresee(self, name: str, known: Foresight) -> Work:
        if self.data in known.num_prompts:
            known.num_prompts[f"@{name}/{CHATS}/{KEPT}"] = known.num_prompts[self.data]  # at most
        return Work(seconds=1.0, notes=("what filters with models take is not foreseen",) if any(map(_models, self.filters)) else ())

    def run(self, run: Run) -> Mapping[str, Any]:
        source, found = data_source(run, self.data), Written()
        reasons = self._reasons(run, lambda: read_conversations(source))

        def judged() -> Iterator[tuple[Conversation, str | None]]:
            return zip(read_conversations(source), reasons, strict=True)

        def kept() -> Iterator[dict[str, Any]]:
            for chat, reason in judged():
                found.add(chat.messages, reason, reason)
                if reason is None:
                    yield _record(chat)

        dropped = (_record(chat) | {"reason": reason} for chat, reason in judged() if reason is not None)
        commit_rows(run.folder / CHATS, {KEPT: kept(), DROPPED: dropped}, kind="chats")
        found.leave(run, "kept_share")
        count = found.funnel.kept.documents
        if not count:
            [(reason, most)] = found.verdicts.most_common(1)
            raise DataError(f"the filters keep none of {len(reasons):,} conversations ({most:,}: {reason}); loosen them")
        return {"conversations": len(reasons), "kept": count}

    def _reasons(self, run: Run, chats: Callable[[], Iterator[Conversation]]) -> Reasons:
        """Why each conversation is dropped: the reason of the first filter that drops it, None for what all keep."""
        reasons: Reasons = [None for _ in chats()]
        if not reasons:
            raise DataError(f"{self.data}: there is no conversation to choose from")
        for place, rule in enumerate(self.filters):
            left = [number for number, reason in enumerate(reasons) if reason is None]

            def staying(keep: frozenset[int] = frozenset(left)) -> Iterator[Conversation]:
                return (chat for number, chat in enumerate(chats()) if number in keep)

            for number, reason in zip(left, self._why(run, place, rule, staying, len(left)), strict=True):
                reasons[number] = f"{rule.kind}: {reason}" if reason else None
        return reasons

    def _why(self, run: Run, place: int, rule: ChatFilter, chats: Callable[[], Iterator[Conversation]], count: int) -> Iterable[str | None]:
        if isinstance(rule, ReadingFilter):
            return map(rule.why, chats())
        if not count:
            return ()
        from trivium.stages.computing.measuring import measure

        return rule.why_not(measure(run, place, rule, chats, count))


def _record(chat: Conversation) -> dict[str, Any]:
    """A conversation as a row, with the fields that it had."""
    return {"messages": plain_turns(chat.messages), **chat.meta} | ({} if chat.weight == 1 else {"weight": chat.weight})


def _models(rule: ChatFilter) -> tuple[str, ...]:
    """The models that a filter loads."""
    if isinstance(rule, NearDuplicates):
        return (rule.model,)
    if isinstance(rule, Reward):
        return (rule.reward_model, rule.reference) if rule.reference else (rule.reward_model,)
    return (rule.model,) if isinstance(rule, Judged) and not rule.url else ()
