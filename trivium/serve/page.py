"""The chat page: one file, whose own script and style are the only ones that a browser may run."""

import base64
import re
from hashlib import sha256
from pathlib import Path

_MARK = 'data-votes="no"'


def page(has_votes: bool) -> tuple[str, str]:
    """The HTML, and its content security policy."""
    html = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    if has_votes:
        html = html.replace(_MARK, _MARK.replace("no", "yes"))
    hashes = {tag: _hash(re.search(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)) for tag in ("script", "style")}
    policy = (
        f"default-src 'none'; script-src {hashes['script']}; style-src {hashes['style']}; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return html, policy


def _hash(found: re.Match[str] | None) -> str:
    assert found is not None
    return f"'sha256-{base64.b64encode(sha256(found[1].encode()).digest()).decode()}'"
