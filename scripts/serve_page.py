"""A person at the chat page of a real model: `python -m scripts.serve_page smollm2 --out FOLDER`, a minute on two quiet cores.

A headless Chromium (`apt-get install chromium`) opens the page, chats twice while words stream in, compares two models blind and votes.
Pictures to be looked at and the votes are left in FOLDER, which must be new. Prints what was seen and the verdict; exit code 1 if an answer
did not stream, the vote is not on disk as it was shown, or the browser complained.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from scripts.server import HOST, serving
from tests.serve.browser import BINARY, Page, opened
from trivium.text.read import read_matches

OTHER = "two"
IDLE = "document.getElementById('stop').hidden"
LAST = "[...document.querySelectorAll('.turn:not(.user)')].at(-1)?.textContent.length ?? 0"
PATIENCE_S = 120.0
QUESTIONS = ("What is the capital of France?", "Tell me a story about a king and his three daughters.")


def ask(page: Page, text: str) -> None:
    """Type a message and send it."""
    page.click("#text")
    page.type(text)
    page.key("Enter")


def streamed(page: Page, text: str, picture: Path) -> tuple[int, int]:
    """(characters that were there while more were coming, characters of the whole answer); the picture is of the former."""
    there = page.js("document.querySelectorAll('.turn:not(.user)').length")
    ask(page, text)
    page.until(f"document.querySelectorAll('.turn:not(.user)').length > {there} && ({LAST}) > 5", PATIENCE_S)
    early, is_over = page.js(f"[{LAST}, {IDLE}]")
    page.shot(picture)
    page.until(IDLE, PATIENCE_S)
    return 0 if is_over else early, page.js(LAST)


def visit(page: Page, out: Path) -> list[str]:
    """Chat, compare and vote; the problems, in words."""
    problems = []
    page.until("document.querySelectorAll('#model option').length === 2", PATIENCE_S)
    page.shot(out / "1-empty.png")
    page.js("document.getElementById('temperature').value = '0'; document.getElementById('most').value = '60'")
    for number, question in enumerate(QUESTIONS, 2):
        early, whole = streamed(page, question, out / f"{number}-streaming.png")
        print(f"{question!r}: {early} characters were there before the whole answer of {whole}", flush=True)
        if not 0 < early < whole:
            problems.append(f"{question!r} was not answered word by word")
    page.shot(out / "4-chat.png")
    page.js("document.getElementById('temperature').value = '0.7'")  # or one model served twice says the same
    page.click("#compare")
    page.shot(out / "5-blind.png")
    ask(page, "What is rain?")
    page.until("!document.getElementById('votes').hidden", PATIENCE_S)
    page.shot(out / "6-compared.png")
    page.resize(420, 760, is_dark=True)
    page.shot(out / "7-narrow-dark.png")
    page.resize(1100, 760)
    shown = page.js("[...document.querySelectorAll('.turn:not(.user)')].map(turn => turn.textContent)")
    page.click("[data-winner=a]")
    page.until("document.getElementById('said').textContent.includes('kept')", PATIENCE_S)
    page.shot(out / "8-voted.png")
    found = list(read_matches(out / "votes" / "votes.jsonl"))
    print(f"{len(found)} vote on disk: {found[0].models[0]} over {found[0].models[1]}", flush=True)
    if len(found) != 1 or found[0].score != 1.0 or list(found[0].answers or ()) != shown:
        problems.append(f"the vote on disk is {found}, shown were {shown}")
    complaints = [event["entry"]["text"] for event in page.events("Log.entryAdded") if event["entry"]["level"] == "error"]
    return problems + [f"the browser says: {text}" for text in complaints]


def main() -> int:
    """Serve, visit, judge; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("model", nargs="?", default="smollm2")
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    if BINARY is None:
        parser.error("there is no Chromium; Debian's is enough: apt-get install chromium")
    chosen.out.mkdir(parents=True)
    options = (f"{OTHER}={chosen.model}", "--votes", str(chosen.out / "votes"), "--rows", "4", "--context", "512")
    with serving(chosen.model, *options) as (port, _), tempfile.TemporaryDirectory() as profile, opened(Path(profile)) as browser:
        problems = visit(Page(browser, f"http://{HOST}:{port}/"), chosen.out)
    for problem in problems:
        print(f"PROBLEM {problem}")
    pictures = len(list(chosen.out.glob("*.png")))
    print(f"VERDICT: {f'{len(problems)} problems' if problems else 'all well'}; {pictures} pictures to be looked at in {chosen.out}")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
