"""HTML as a tree of calls in which text is escaped unless it is markup already.

Model output is untrusted: whatever is not an `Html` made here is escaped, so a mistake shows itself as ugly text, never as a script.
"""

import html
import re
from collections.abc import Iterable, Sequence

_VOID = {"meta", "br"}
_SURROGATE = re.compile("[\ud800-\udfff\x80-\x9f]")
_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"} | {0x7F: 0x2421}


class Html(str):
    """A string that is markup already.

    Only `join` and `element` put pieces together; what `+` gives is plain text and is escaped.
    """

    __slots__ = ()


def escape(value: object) -> Html:
    """Make any value safe between tags and inside quoted attributes; `Html` passes through.

    Control characters become their Unicode pictures, so that one sees them; unpaired surrogates, which no file can hold, become U+FFFD.
    """
    if isinstance(value, Html):
        return value
    text = str(value).replace("\r\n", "\n").translate(_PICTURES)
    return Html(html.escape(_SURROGATE.sub("\ufffd", text), quote=True))


def join(parts: Iterable[object], separator: str = "") -> Html:
    """Put parts behind each other, escaping those that are not markup."""
    return Html(escape(separator).join(escape(part) for part in parts))


def element(tag: str, *children: object, **attributes: object) -> Html:
    """One element. `class_` is written class, `aria_label` aria-label; an attribute that is None is left out.

    >>> element("p", "1 < 2", class_="muted")
    '<p class="muted">1 &lt; 2</p>'
    """
    named = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items() if value is not None}
    opening = "".join(f' {name}="{escape(value)}"' for name, value in named.items())
    return Html(f"<{tag}{opening}>" if tag in _VOID else f"<{tag}{opening}>{join(children)}</{tag}>")


def table(header: Sequence[object], rows: Iterable[Sequence[object]], *, caption: str) -> Html:
    """A table of numbers whose first column names the rows; it scrolls by itself where the page is narrow."""
    head = element("tr", *(element("th", cell, scope="col") for cell in header))
    body = (element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:])) for row in rows)
    whole = element("table", element("thead", head), element("tbody", *body), aria_label=caption)
    # not a <caption>: that is as wide as the table, and would be cut where the table scrolls
    return join([muted(caption), element("div", whole, class_="wide", tabindex=0, role="region", aria_label=caption)])


def details(summary: object, *parts: object) -> Html:
    """Parts that open on a click, without a script."""
    return element("details", element("summary", summary), *parts)


def figure(title: object, note: object, chart: object, *below: object) -> Html:
    """A chart under its title; the note, if there is one, stands at the end of the line."""
    return element("figure", element("figcaption", element("b", title), *([element("span", note)] if note else [])), chart, *below)


def muted(text: object) -> Html:
    """A line that says what is not there, or how to read what is."""
    return element("p", text, class_="muted")


def words(name: str) -> str:
    """The name of a metric as one reads it: bits_per_byte becomes bits per byte."""
    return name.replace("_", " ")
