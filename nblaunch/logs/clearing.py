"""Marks in a log after text that the rank has cleared, as ``clear_output()`` does in a notebook.

The text itself stays in the log. The mark after it says that the text is not to be shown any more. It is an escape
sequence, which terminals ignore. A rank marks both of its streams.
"""

from __future__ import annotations

import re

__all__ = ["CLEARED", "CLEARED_BY_NEXT", "last_clearing", "without_marks"]

CLEARED = b"\x1b[?8801J"
"""What the stream has before this mark is cleared."""

CLEARED_BY_NEXT = b"\x1b[?8802J"
"""What the stream has before this mark is cleared as soon as there is text after it."""

_MARK = re.compile(rb"\x1b\[\?880[12]J")
_MARK_IN_TEXT = re.compile(r"\x1b\[\?880[12]J")


def last_clearing(data: bytes) -> int:
    """Return the offset in the bytes of one stream after what is cleared; 0 if nothing is."""
    end = len(data)
    # from the end, so that only the last mark that clears anything is looked for
    while True:
        at = data.rfind(b"\x1b[?880", 0, end)
        if at < 0:
            return 0
        mark = _MARK.match(data, at)
        if mark is not None and (mark[0] == CLEARED or _MARK.sub(b"", data[mark.end() :])):
            return mark.end()
        end = at


def without_marks(text: str) -> str:
    """Return a text of a log without marks, but with the text that was cleared."""
    return _MARK_IN_TEXT.sub("", text) if "\x1b[?880" in text else text
