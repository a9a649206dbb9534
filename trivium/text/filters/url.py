"""Url: drops documents from sites that a list names."""

import re
from typing import Literal
from urllib.parse import urlsplit

from trivium.core.config import component
from trivium.text.filters.listed import entries
from trivium.text.signals import Reasons, Signals

_BETWEEN_WORDS = re.compile(r"[\W_]+")


@component
class Url:
    """Looks at the field `url` of a record; one without it is kept.

    blocklist: a file with an entry a line. An entry with a dot is a domain, which stands for all below it (`example.com` for
    `www.example.com`); one without is a word that the address must not have between its marks. After Penedo et al. 2023,
    arXiv:2306.01116, appendix G.1, whose lists are not shipped. Raises ConfigError if there is no such file.
    """

    kind: Literal["url"] = "url"
    blocklist: str

    def __post_init__(self) -> None:
        entries(self.blocklist)

    def judge(self, signals: Signals) -> Reasons:
        """The reason to drop each document, or None."""
        blocked = frozenset(entries(self.blocklist))
        return [_why(str(document.meta.get("url") or ""), blocked) for document in signals.documents]


def _why(url: str, blocked: frozenset[str]) -> str | None:
    labels = _host(url).split(".")
    if any(".".join(labels[start:]) in blocked for start in range(len(labels) - 1)):
        return "domain on the list"
    return None if blocked.isdisjoint(_BETWEEN_WORDS.split(url.lower())) else "word of the list in the address"


def _host(url: str) -> str:
    try:
        return urlsplit(url if "://" in url else f"//{url}").hostname or ""
    except ValueError:  # no address; its words are still looked at
        return ""
