"""Personal data: what is replaced and the nearest thing that must stay, by hand."""

import re

import pytest
from hypothesis import given, settings, strategies as st

from trivium.text.pii import Replacement, scrub

ALL = ("key", "email", "iban", "card", "ip", "phone")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to ann.lee+x@mail.example.org.", "write to <EMAIL>."),
        ("mail müller@bücher.example, please", "mail <EMAIL>, please"),
        ("an @mention, a@b and user@localhost", None),
        ("at 8.8.8.8, port 53", "at <IP>, port 53"),
        ("8.8.8.8.", "<IP>."),
        ("the server at 192.168.1.1 or 127.0.0.1", None),
        ("version 1.2.3.400 and 8.8.8.8.8", None),
        ("2001:4860:4860::8888 answers at 12:30:45", "<IP> answers at 12:30:45"),
        ("std::vector, fe80::1", None),
        ("call (212) 555-0187 or 212-555-0187", "call <PHONE> or <PHONE>"),
        ("+44 20 7946 0958", "<PHONE>"),
        ("+49 (30) 901820", "<PHONE>"),
        ("from 1914-1918, 2021-03-04, page 212-555, +12", None),
        ("DE89 3704 0044 0532 0130 00 IS MINE", "<IBAN> IS MINE"),
        ("GB82WEST12345698765432", "<IBAN>"),
        ("GB83WEST12345698765432", None),
        ("card 4111 1111 1111 1111.", "card <CARD>."),
        ("card 4111-1111-1111-1112", None),
        ("ID 1234567890123456789012", None),
        ("key AKIAIOSFODNN7EXAMPLE here", "key <KEY> here"),
        ("ghp_" + "a1" * 18, "<KEY>"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----\nend", "<KEY>\nend"),
        ("sk-learn, task-force-of-the-new-century-and-more", None),
    ],
)
def test_a_thing_is_replaced_by_its_kind_and_its_neighbour_stays(text, expected):
    assert scrub(text, ALL)[0] == (text if expected is None else expected)


def test_only_the_kinds_that_are_asked_for_are_replaced():
    assert scrub("a@b.org 8.8.8.8", ("ip",))[0] == "a@b.org <IP>"
    assert scrub("a@b.org", ()) == ("a@b.org", [])


def test_the_excerpt_shows_the_form_and_not_the_thing():
    text = "you may write to ann7@mail.example.org at any time of the day or night"
    assert scrub(text, ALL)[1] == [Replacement("email", "you may write to xxx0@xxxx.xxxxxxx.xxx at any time of the day or nig")]
    assert scrub("a@b.org 8.8.8.8", ALL)[1] == [Replacement("email", "x@x.xxx 0.0.0.0"), Replacement("ip", "x@x.xxx 0.0.0.0")]


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a@b.org", "8.8.8.8", "+44 20 7946 0958", "x", ".", " ", "-", "1"]), max_size=12).map("".join))
def test_all_that_is_not_replaced_stays_in_its_place(text):
    changed, found = scrub(text, ALL)
    between = re.split("<[A-Z]+>", changed)
    assert len(between) == len(found) + 1
    assert re.fullmatch(".+?".join(map(re.escape, between)), text)


@pytest.mark.parametrize("piece", ["a.", "1 ", "+1", "1.", "a:", "@a", "A1 ", "-----BEGIN PRIVATE KEY-----", "4" * 11 + "-", "0:"])
def test_time_grows_with_the_text_only(piece):
    """A pattern that looked back and forth would take hours here."""
    scrub(piece * 20_000, ALL)
