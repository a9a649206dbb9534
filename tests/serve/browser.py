"""A headless Chromium that a test drives by its debugging pipe: no driver, no library; Debian's `chromium` is enough.

What is typed and clicked goes in as input events, so it reaches the page as a person's would. What the browser asks the network for, says
in its console and opens as dialogs is kept.
"""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BINARY = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))), None)
FLAGS = (
    "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--no-first-run", "--disable-background-networking", "--disable-sync",
    "--disable-component-update", "--disable-default-apps", "--disable-extensions", "--disable-gpu", "--disable-dev-shm-usage",
    "--no-default-browser-check", "--hide-scrollbars", "--force-color-profile=srgb",
)  # fmt: skip
# the browser reads from 3 and writes to 4; both may be taken in this process, so a process in between moves them
LAUNCH = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
for end, place in zip(ends, (3, 4)):
    os.dup2(end, place)
os.execv(sys.argv[3], sys.argv[3:])
"""
WAIT_S = 20.0


class Browser:
    """The process and its pipe."""

    def __init__(self, profile: Path) -> None:
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        assert BINARY is not None
        words = [sys.executable, "-S", "-c", LAUNCH, str(theirs_in), str(theirs_out), BINARY, *FLAGS, f"--user-data-dir={profile}"]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen([*words, "about:blank"], pass_fds=(theirs_in, theirs_out), start_new_session=True, **quiet)
        os.close(theirs_in)
        os.close(theirs_out)
        self.events: list[dict[str, Any]] = []
        self._replies: dict[int, dict[str, Any]] = {}
        self._count, self._news = 0, threading.Condition()
        self._to, self._from = os.fdopen(ours_out, "wb", buffering=0), os.fdopen(ours_in, "rb", buffering=0)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def ask(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """A command, and what it is answered."""
        with self._news:
            self._count += 1
            number = self._count
        message = {"id": number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        self._to.write(json.dumps(message).encode() + b"\0")
        with self._news:
            came = self._news.wait_for(lambda: number in self._replies, WAIT_S)
            assert came, f"{method}: no answer within {WAIT_S:.0f} s"
            reply = self._replies.pop(number)
        assert "error" not in reply, f"{method}: {reply['error']}"
        return reply["result"]

    def close(self) -> None:
        """End it with everything that it started."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=WAIT_S)
        self._listener.join(timeout=WAIT_S)
        self._to.close()
        self._from.close()

    def _listen(self) -> None:
        rest = b""
        while chunk := self._from.read(1 << 16):
            *messages, rest = (rest + chunk).split(b"\0")
            with self._news:
                for message in map(json.loads, messages):
                    if "id" in message:
                        self._replies[message["id"]] = message
                    else:
                        self.events.append(message)
                self._news.notify_all()


class Page:
    """A tab. start: a script that runs in it before any other."""

    def __init__(self, browser: Browser, url: str, *, size: tuple[int, int] = (1100, 760), start: str = "") -> None:
        self.browser = browser
        target = browser.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")
        self.resize(*size)
        self.ask("Page.addScriptToEvaluateOnNewDocument", source=start)
        self.ask("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """A command to this tab."""
        return self.browser.ask(method, self.session, **params)

    def events(self, method: str) -> list[dict[str, Any]]:
        """What has happened here, of one kind."""
        found = list(self.browser.events)
        return [event["params"] for event in found if event["method"] == method and event.get("sessionId") == self.session]

    def resize(self, width: int, height: int, *, is_dark: bool = False) -> None:
        """Another window, or other wishes of its user."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])

    def js(self, expression: str) -> Any:
        """The value of an expression, awaited."""
        found = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, expression: str, seconds: float = WAIT_S) -> None:
        """Wait until it is so."""
        end = time.monotonic() + seconds
        while not self.js(f"Boolean({expression})"):
            assert time.monotonic() < end, f"never: {expression}"
            time.sleep(0.02)

    def click(self, selector: str) -> None:
        """The mouse on the middle of an element that can be seen, and that nothing covers."""
        box = f"document.querySelector({json.dumps(selector)})"
        self.js(f"{box}.scrollIntoView({{block: 'nearest'}})")
        x, y = self.js(f"(() => {{ const r = {box}.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }})()")
        assert self.js(f"{box}.contains(document.elementFromPoint({x}, {y}))"), f"{selector} cannot be clicked at {x}, {y}"
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, text: str) -> None:
        """Text into what has the focus."""
        self.ask("Input.insertText", text=text)

    def key(self, name: str, *, shift: bool = False) -> None:
        """A key; only those without a letter, such as Enter."""
        code = {"Enter": 13, "Tab": 9, "Escape": 27}[name]
        more = {"text": "\r"} if name == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            extra = more if kind == "keyDown" else {}
            self.ask(
                "Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code, modifiers=8 if shift else 0, **extra
            )

    def shot(self, path: Path) -> Path:
        """A picture of the window."""
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))
        return path


@contextmanager
def opened(profile: Path) -> Iterator[Browser]:
    """A browser, closed in the end."""
    browser = Browser(profile)
    try:
        yield browser
    finally:
        browser.close()
