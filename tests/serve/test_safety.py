"""Who is refused, what a page may do, and that no input ends in an error of the server's."""

import base64
import json
import os
import re
import socket
from hashlib import sha256

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.serve.conftest import client_of, make_worker
from trivium.core.errors import ConfigError
from trivium.serve.start import Place, _listening, is_loopback, serve
from trivium.stages.use.chat import named
from trivium.stages.use.votes import Votes
from trivium.text.read import read_matches, read_preferences

ADDRESS = "127.0.0.1"
KEY = "a key of sixteen or more".replace(" ", "-")
CHAT = {"model": "one", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 2, "seed": 1}


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("127.0.0.1:8000", True), ("localhost", True), ("[::1]:8000", True), ("LOCALHOST:1", True), ("192.168.1.7", True),
        ("evil.example", False), ("localhost.evil.example", False), ("127.0.0.1.nip.io", False), ("evil@127.0.0.1", False),
        ("127.0.0.1/x", False), ("127.0.0.1:x", False), ("", False), ("[::1", False), ("localhost.", False), ("0x7f.1", False),
    ],
)  # fmt: skip
def test_only_hosts_that_no_page_can_rebind_are_served(client, host, is_ours):
    for path in ("/", "/v1/models"):
        assert (client.get(path, headers={"host": host}).status_code == 200) == is_ours


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://localhost:9000"}, {"origin": f"http://{ADDRESS}:8000"},
        {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"origin": "http://localhost:8000.evil.example"},
    ],
)  # fmt: skip
def test_pages_of_other_sites_are_refused(client, headers):
    found = client.post("/v1/chat/completions", json=CHAT, headers=headers)
    assert found.status_code == 403
    assert "access-control-allow-origin" not in found.headers


def test_the_own_page_may_ask_and_nobody_gets_cors(client):
    found = client.post("/v1/chat/completions", json=CHAT, headers={"origin": "http://localhost:8000", "sec-fetch-site": "same-origin"})
    assert found.status_code == 200
    assert not [name for name in found.headers if name.startswith("access-control")]
    assert client.options("/v1/chat/completions").status_code == 405


def test_with_a_key_everything_but_the_page_needs_it():
    with client_of(make_worker(), key=KEY) as client:
        assert client.get("/").status_code == 200
        for wrong in (None, "", KEY, f"Basic {KEY}", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", "Bearer", "Bearer \xe9"):
            headers = {} if wrong is None else {"authorization": wrong.encode("latin-1")}
            for method, path in (("GET", "/v1/models"), ("POST", "/v1/chat/completions"), ("POST", "/votes"), ("GET", "/nowhere")):
                found = client.request(method, path, headers=headers)
                assert found.status_code == 401
                assert found.headers["www-authenticate"] == "Bearer"
        assert client.get("/v1/models", headers={"authorization": f"Bearer {KEY}"}).status_code == 200


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (Place(host="0.0.0.0"), "a key is needed"),
        (Place(host="::"), "a key is needed"),
        (Place(host="192.168.0.1"), "a key is needed"),
        (Place(host="my.machine"), "a key is needed"),
        (Place(host="0.0.0.0", key_env="TRIVIUM_TEST_NO_SUCH_KEY"), "must hold a key of at least 16"),
        (Place(key_env="TRIVIUM_TEST_KEY"), "must hold a key of at least 16"),
    ],
)
def test_it_does_not_start_where_others_reach_it_without_a_key(place, message, monkeypatch):
    monkeypatch.setenv("TRIVIUM_TEST_KEY", "short")
    with pytest.raises(ConfigError, match=message):
        serve(["nowhere"], place, lambda _: None)


def test_loopback_is_told_by_the_address():
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "localhost.evil.example", "")))


@pytest.mark.parametrize("words", [["a=x", "a=y"], ["a b=x"], ["=x"], [f"{'n' * 65}=x"], ["nowhere"]])
def test_names_of_models_are_plain_and_differ(words):
    with pytest.raises(ConfigError):
        named(words)


def test_every_answer_has_the_headers_that_keep_pages_apart(client):
    for found in (
        client.get("/v1/models"),
        client.get("/nowhere"),
        client.post("/v1/completions", json={}),
        client.get("/", headers={"host": "x.y"}),
    ):
        assert found.headers["content-security-policy"].startswith("default-src 'none'")
        assert found.headers["x-content-type-options"] == "nosniff"
        assert found.headers["referrer-policy"] == "no-referrer"


def test_the_page_runs_its_own_script_alone_and_writes_text_only(client):
    found = client.get("/")
    html, policy = found.text, found.headers["content-security-policy"]
    assert policy.count("default-src 'none'") == 1
    assert "unsafe" not in policy
    for tag in ("script", "style"):
        [content] = re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", html, re.DOTALL)
        assert f"{tag}-src 'sha256-{base64.b64encode(sha256(content.encode()).digest()).decode()}'" in policy
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        "srcdoc",
        "DOMParser",
        "href",
        "src=",
    ):
        assert word not in html
    assert not re.search(r"\son\w+\s*=", html)  # no handler in markup
    assert not re.search(r"https?:|//[a-z]", html.replace("//  ", ""))
    assert 'style="' not in html


def test_a_vote_is_on_disk_and_read_as_a_match(tmp_path):
    (tmp_path / "votes").mkdir()
    (tmp_path / "votes" / "votes.jsonl").write_text("")
    vote = {
        "models": ["two", "one"], "winner": "b", "prompt": [{"role": "user", "content": "<b>hi</b>\n\u2028"}], "answers": ["x", "y\n"],
    }  # fmt: skip
    with client_of(make_worker(), votes=Votes(tmp_path / "votes")) as client:
        assert 'data-votes="yes"' in client.get("/").text
        assert client.post("/votes", json=vote).status_code == 201
        assert client.post("/votes", json=vote | {"winner": "tie"}).status_code == 201
        for wrong in (
            {"models": ["one", "one"]},
            {"models": ["one", "../x"]},
            {"winner": "c"},
            {"prompt": []},
            {"file": "/etc/x"},
            {"answers": ["\ud800", ""]},
        ):
            body = json.dumps(vote | wrong)
            assert client.post("/votes", content=body, headers={"content-type": "application/json"}).status_code in (400, 404)
    one, other = read_matches(tmp_path / "votes" / "votes.jsonl")
    assert (one.models, one.score, one.answers) == (("two", "one"), 0.0, ("x", "y\n"))
    assert one.prompt[0].content == "<b>hi</b>\n\u2028"
    assert other.score == 0.5
    won, drawn = read_preferences(tmp_path / "votes" / "votes.jsonl")  # and so `prefer` and `reward` can learn from it
    assert (won.prompt, won.responses, won.ranks, drawn.ranks) == (one.prompt, one.answers, (1, 0), (0, 0))
    assert won.meta == {"model_a": "two", "model_b": "one"}
    assert [file.name for file in (tmp_path / "votes").iterdir()] == ["votes.jsonl"]


def test_a_vote_that_was_cut_off_is_told_and_the_next_one_is_whole(tmp_path, monkeypatch):
    said, worker, write = [], make_worker(), os.write
    worker.log = said.append
    vote = GOOD["/votes"]
    with client_of(worker, votes=Votes(tmp_path)) as client:
        assert client.post("/votes", json=vote).status_code == 201
        monkeypatch.setattr(os, "write", lambda file, line: write(file, line[:9]))  # as on a full disk
        found = client.post("/votes", json=vote)
        monkeypatch.undo()
        assert (found.status_code, found.json()["error"]["type"]) == (503, "server_error")
        assert str(tmp_path) not in found.text
        assert "the disk is full" in said[0]
        with (tmp_path / "votes.jsonl").open("a") as file:
            file.write('{"model_a": "on')  # a power loss
        assert client.post("/votes", json=vote | {"winner": "b"}).status_code == 201
        (tmp_path / "votes.jsonl").write_text((tmp_path / "votes.jsonl").read_text().rstrip("\n"))  # somebody's editor
        assert client.post("/votes", json=vote | {"winner": "tie"}).status_code == 201
    assert [match.score for match in read_matches(tmp_path / "votes.jsonl")] == [1.0, 0.0, 0.5]


def test_without_a_folder_no_vote_is_taken(client):
    assert client.post("/votes", json={}).status_code == 404


def test_votes_are_not_written_through_a_link(tmp_path):
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / "votes.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="no plain file"):
        Votes(tmp_path)
    with pytest.raises(ConfigError, match="elsewhere: is a file; votes go into a folder"):
        Votes(tmp_path / "elsewhere")


FIELDS = [
    "model", "messages", "prompt", "n", "seed", "stop", "temperature", "top_p", "max_tokens", "max_completion_tokens", "stream",
    "stream_options", "logprobs", "top_logprobs", "frequency_penalty", "role", "content", "models", "winner", "answers",
]  # fmt: skip
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=12) | st.sampled_from(["one", "user", "a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
GOOD = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": {"model": "one", "prompt": "the", "max_tokens": 2},
    "/votes": {"models": ["one", "two"], "winner": "a", "prompt": CHAT["messages"], "answers": ["", ""]},
}


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    path=st.sampled_from(sorted(GOOD)),
    changes=st.dictionaries(st.sampled_from(FIELDS), ANY, max_size=2),
    raw=st.none() | st.binary(max_size=40),
)
def test_nothing_that_is_sent_ends_in_an_error_of_the_server(client, path, changes, raw):
    body = raw if raw is not None else json.dumps(GOOD[path] | changes).encode()
    found = client.post(path, content=body, headers={"content-type": "application/json"})
    assert found.status_code < 500
    if found.status_code >= 400:
        assert set(found.json()["error"]) == {"message", "type", "param", "code"}


def test_the_command_refuses_in_one_line(light, tmp_path):
    for words, said in (
        (["nowhere", "--host", "0.0.0.0"], "so a key is needed"),
        (["nowhere"], "is neither a model directory"),
    ):
        ended = light.run(["serve", *words], tmp_path)
        assert ended.code == 2
        assert ended.err.startswith("trivium: ")
        assert ended.err.count("\n") == 1
        assert said in ended.err


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError, match="cannot listen on 127.0.0.1, port"):
        _listening(Place(port=taken.getsockname()[1]))
