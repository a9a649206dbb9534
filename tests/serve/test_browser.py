"""The page in a real browser, against a real server: it streams, compares blind, keeps votes, and runs nothing that anyone writes.

Pictures are left in the test's folder (`--basetemp FOLDER` keeps them).
"""

import json
import socket
from collections import deque
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.nn.io_models import STOPS, TOKENIZER
from tests.serve.browser import BINARY, Page, opened
from tests.serve.conftest import listening, make_worker, until
from tests.serve.test_connections import held_at
from tests.serve.test_safety import ADDRESS
from trivium.core.errors import DataError
from trivium.generate.job import Said
from trivium.stages.use.votes import Votes
from trivium.text.read import read_matches

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BINARY is None, reason="there is no Chromium; Debian's is enough: apt-get install chromium"),
]
PAYLOADS = [line.replace("␤", "\n") for line in Path(__file__).with_name("payloads.txt").read_text("utf-8").splitlines()]
CANARY = """
window.hits = []; window.violations = [];
window.canary = word => { hits.push(word); };
document.addEventListener("securitypolicyviolation", event => { violations.push(event.effectiveDirective); });
"""
IDLE = "document.getElementById('stop').hidden"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("profile")) as made:
        yield made


class Echo:
    """A model that says what it was asked, a token at a time."""

    def __init__(self) -> None:
        self.going = deque()

    @property
    def is_busy(self) -> bool:
        return bool(self.going)

    def submit(self, request) -> None:
        ids = request.prompt.tolist()
        start = len(ids) - 1 - ids[::-1].index(TOKENIZER.id_of("<|user|>"))
        self.going.append((request, deque([*ids[start + 1 : -2], TOKENIZER.id_of("<|end|>")])))

    def step(self) -> None:
        request, left = self.going.popleft()
        token = left.popleft()
        request.on_token(Said(token, 0.0))
        if request.is_cancelled or request.is_over([]) or token in STOPS:
            request.on_end(None if request.is_cancelled else object())
        else:
            self.going.append((request, left))

    def drop(self) -> list:
        return [request for request, _ in self.going]


def echoing():
    worker = make_worker(most=400)
    for name in list(worker.models):
        worker.models[name] = replace(worker.models[name], context=1 << 16)
        worker._jobs[name] = Echo()
    return worker


def page_at(browser, port: int, models: int = 2) -> Page:
    page = Page(browser, f"http://{ADDRESS}:{port}/", start=CANARY)
    page.until(f"document.querySelectorAll('#model option').length === {models}")
    return page


def say(page: Page, text: str) -> None:
    page.click("#text")
    page.type(text)
    page.key("Enter")


def answers(page: Page) -> list[str]:
    return page.js("[...document.querySelectorAll('.turn:not(.user)')].map(turn => turn.textContent)")


def asked_nobody_else(page: Page, port: int) -> bool:
    asked = {sent["request"]["url"] for sent in page.events("Network.requestWillBeSent")}
    return all(url.startswith(f"http://{ADDRESS}:{port}/") for url in asked)


def test_a_chat_streams_and_remembers(browser, tmp_path):
    worker = echoing()
    go_on, _ = held_at(worker, 6)
    with listening(worker) as port:
        page = page_at(browser, port)
        say(page, "the king of the land said that the people have 12 ships")
        page.until("document.querySelector('.turn:not(.user)')?.textContent.length > 3")
        page.shot(tmp_path / "streaming.png")
        [part] = answers(page)
        assert "the king of the land said that the people have 12 ships".startswith(part)
        assert not page.js(IDLE)
        go_on.set()
        page.until(IDLE)
        say(page, "and the people?")
        page.until(f"document.querySelectorAll('.turn').length === 4 && {IDLE}")
        assert answers(page) == ["the king of the land said that the people have 12 ships", "and the people?"]
        page.shot(tmp_path / "chat.png")
        page.resize(420, 760, is_dark=True)
        page.shot(tmp_path / "narrow-dark.png")
        bodies = [
            json.loads(sent["request"]["postData"]) for sent in page.events("Network.requestWillBeSent") if sent["request"].get("postData")
        ]
        assert [turn["role"] for turn in bodies[-1]["messages"]] == ["user", "assistant", "user"]
        assert asked_nobody_else(page, port)


def test_stop_ends_an_answer_and_the_chat_goes_on(browser):
    worker = echoing()
    go_on, _ = held_at(worker, 6)
    with listening(worker) as port:
        page = page_at(browser, port)
        say(page, "the king of the land said that the people have 12 ships")
        page.until("document.querySelector('.turn:not(.user)')?.textContent.length > 3")
        page.click("#stop")
        page.until(IDLE)
        go_on.set()
        until(lambda: worker.open == 0)
        say(page, "hello")
        page.until(f"{IDLE} && document.querySelectorAll('.turn.user').length === 2")
        assert answers(page)[-1] == "hello"


def test_two_models_are_compared_blind_and_the_vote_is_a_match(browser, tmp_path):
    with listening(make_worker(), votes=Votes(tmp_path)) as port:
        page = page_at(browser, port)
        page.click("#compare")
        page.shot(tmp_path / "compare-empty.png")
        say(page, "who is king?")
        page.until("!document.getElementById('votes').hidden")
        page.shot(tmp_path / "compare.png")
        shown = page.js("document.getElementById('panes').innerText")
        assert "one" not in shown.split("who is king?")[0]
        assert not (tmp_path / "votes.jsonl").exists()
        assert page.js("document.getElementById('text').disabled")  # one question a vote: to a second, two conversations would lead
        left, right = answers(page)
        page.click("[data-winner=b]")
        page.until("document.getElementById('said').textContent.includes('kept')")
        page.shot(tmp_path / "voted.png")
        told = page.js("[...document.querySelectorAll('.title')].map(name => name.textContent)")
    [match] = read_matches(tmp_path / "votes.jsonl")
    assert (match.score, match.answers) == (0.0, (left, right))
    assert [turn.content for turn in match.prompt] == ["who is king?"]
    assert sorted(match.models) == ["one", "two"]
    assert all(name in said for name, said in zip(match.models, told, strict=True))


def test_both_orders_are_drawn(browser, tmp_path):
    with listening(make_worker(), votes=Votes(tmp_path)) as port:
        page = page_at(browser, port)
        drawn = {tuple(page.js("drawn()")) for _ in range(60)}
    assert drawn == {("one", "two"), ("two", "one")}


def test_nothing_that_is_written_runs(browser, tmp_path):
    """Each payload goes in as a prompt, comes back as the model's words cut at every token, and stands for a model's name and an error."""
    assert len(PAYLOADS) >= 150
    worker = echoing()
    for payload in PAYLOADS:
        worker.models[payload] = worker.models["one"]
    ask, refused = worker.ask, []

    def refusing(name, prompts, *rest, **more):
        if refused:
            raise DataError(refused[0])
        return ask(name, prompts, *rest, **more)

    worker.ask = refusing
    with listening(worker, votes=Votes(tmp_path)) as port:
        page = page_at(browser, port, 2 + len(PAYLOADS))
        said = page.js(
            "(async payloads => { const said = []; for (const [place, payload] of payloads.entries()) {"
            " if (place % 10 === 0) { document.getElementById('model').selectedIndex = place + 2; fresh(); }"
            " document.getElementById('text').value = payload; await send();"
            f" said.push(panes[0].box.lastElementChild.textContent); }} return said; }})({json.dumps(PAYLOADS)})"
        )
        assert said == [payload.strip() for payload in PAYLOADS]
        page.shot(tmp_path / "payloads.png")
        shown = page.js("[...document.querySelectorAll('#model option')].map(option => option.textContent)")
        assert shown[2:] == PAYLOADS
        for payload in PAYLOADS[::6]:
            refused[:] = [payload]
            page.js("(async () => { document.getElementById('text').value = 'x'; await send(); })()")
            assert page.js("document.getElementById('said').textContent") == " ".join(payload.split())  # an error has one line
        refused.clear()
        page.js(f"(async () => {{ names = {json.dumps(PAYLOADS[:2])}; document.getElementById('compare').checked = true; fresh();"
                " document.getElementById('text').value = 'x'; await send(); await vote('tie'); })()")  # fmt: skip
        assert all(payload in page.js("document.getElementById('panes').textContent") for payload in PAYLOADS[:2])
        for selector in ("#more", "#temperature", "#panes"):
            page.click(selector)
        assert page.js("document.querySelectorAll('.turn *, .title *, .empty *, .cut *, #said *, option *').length") == 0
        assert page.js("document.querySelectorAll('script').length") == 1
        assert page.js("[hits, violations]") == [[], []]
        assert asked_nobody_else(page, port)
        assert not page.events("Page.javascriptDialogOpening")
        assert page.js("location.pathname") == "/"
    assert len(list(read_matches(tmp_path / "votes.jsonl"))) == 1


BREACHES = {
    "script-src-elem": "{ const s = document.createElement('script'); s.textContent = 'canary(1)'; document.body.append(s); }",
    "script-src-attr": "document.body.insertAdjacentHTML('beforeend', '<b onclick=canary(1)>x</b>'), document.querySelector('b').click()",
    "script-src": "{ try { setTimeout('canary(1)'); } catch {} }",
    "img-src": "document.body.insertAdjacentHTML('beforeend', '<img src=http://ELSEWHERE/x.png onerror=canary(1)>')",
    "connect-src": "fetch('http://ELSEWHERE/').catch(() => {})",
    "frame-src": "document.body.insertAdjacentHTML('beforeend', '<iframe src=\"http://ELSEWHERE/\"></iframe>')",
    "style-src-attr": "document.body.insertAdjacentHTML('beforeend', '<i style=\"color:red\">x</i>')",
    "style-src-elem": "document.body.insertAdjacentHTML('beforeend', '<link rel=stylesheet href=http://ELSEWHERE/x.css>')",
    "base-uri": "document.head.insertAdjacentHTML('beforeend', '<base href=http://ELSEWHERE/>')",
    "form-action": "document.body.insertAdjacentHTML('beforeend', '<form id=f action=http://ELSEWHERE/></form>'),"
    " document.getElementById('f').submit()",
    "object-src": "document.body.insertAdjacentHTML('beforeend', '<object data=http://ELSEWHERE/x></object>')",
    "media-src": "document.body.insertAdjacentHTML('beforeend', '<video src=http://ELSEWHERE/x></video>')",
}


def sent_to(door: socket.socket) -> bytes:
    """What was said on all connections that came."""
    door.settimeout(0.3)
    found = b""
    with suppress(TimeoutError):
        while True:
            connection, _ = door.accept()
            with connection, suppress(TimeoutError):
                connection.settimeout(0.3)
                found += connection.recv(1 << 12)
    return found


def test_the_policy_would_hold_if_markup_came_in(browser):
    """The second wall: what the page never does is done to it, and the browser refuses each.

    For a frame and a form Chromium opens a connection before it has asked the policy; nothing is ever sent on it.
    """
    with listening(make_worker()) as port, socket.create_server((ADDRESS, 0)) as elsewhere:
        page = page_at(browser, port)
        for directive, breach in BREACHES.items():
            page.js(f"(() => {{ {breach.replace('ELSEWHERE', f'{ADDRESS}:{elsewhere.getsockname()[1]}')} }})()")
            page.until(f"violations.includes({json.dumps(directive)})")
        assert page.js("hits") == []
        assert not sent_to(elsewhere)
