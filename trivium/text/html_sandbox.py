"""A program that takes the main text out of pages: `python html_sandbox.py`, a line of JSON in, a line of JSON out, for each page.

Pages come from anywhere, and parsers of HTML have hung, leaked and crashed on some of them. So this runs in a process of its own with a
limit on memory; whoever asks ends it when a page takes too long. Nothing of trivium is imported here.
in: a page as text. out: {"text": its main text, "" if there is none} or {"error": why not}.
"""

import json
import resource
import sys
from contextlib import suppress

MEMORY_BYTES = 2 << 30


def main() -> None:
    """Answer page after page."""
    import trafilatura

    with suppress(ValueError, OSError):  # macOS does not limit the address space
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    for line in sys.stdin:
        try:
            found = {"text": trafilatura.extract(json.loads(line), include_comments=False) or ""}
        except Exception as error:  # a page may break the parser in any way
            found = {"error": " ".join(f"{type(error).__name__} {error}".split())[:200]}
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
