"""Rows that are texts: documents, and the entries of a dictionary."""

from typing import Any

from trivium.core.types import Document
from trivium.text.rows import Row, type_name


def document(row: Row) -> Document:
    """`text`, and `id`, `source` if they are there; else the place of the row is the id and its file the source."""
    name = row.values.get("id")
    source = row.values.get("source")
    return Document(
        row.text("text"),
        row.where if name is None else row.check_text(str(name), "id"),
        str(row.path) if source is None else row.check_text(str(source), "source"),
        row.rest("text", "id", "source"),
    )


def definition(row: Row) -> dict[str, Any]:
    """{word, part_of_speech, definitions}: an entry of a dictionary; definitions is a list with at least one text."""
    if "definitions" not in row.values:
        row.missing("'definitions'")
    texts = row.values["definitions"]
    if not isinstance(texts, list) or not texts:
        row.fail(f"'definitions' is {'an empty list' if texts == [] else type_name(texts)}; a list of texts is expected")
    checked = [row.check_text(text, f"definitions[{index}]") for index, text in enumerate(texts)]
    return {"word": row.text("word"), "part_of_speech": row.text("part_of_speech"), "definitions": checked}
