"""What says in a log that its rank has cleared what it had written, as ``clear_output()`` does in a notebook.

The text itself stays in the log. A mark behind it says that it is not to be seen any more: an escape sequence that
terminals pass over, so that it is in order with the text around it, whoever reads the file. A rank marks both of its
streams.
"""

from __future__ import annotations

import re

__all__ = ["CLEARED", "CLEARED_BY_NEXT", "last_clearing", "without_marks"]

CLEARED = b"\x1b[?8801J"
"""What this stream has before it is cleared."""

CLEARED_BY_NEXT = b"\x1b[?8802J"
"""What this stream has before it is cleared as soon as something comes behind it."""

_MARK = re.compile(rb"\x1b\[\?880[12]J")
_MARK_IN_TEXT = re.compile(r"\x1b\[\?880[12]J")


def last_clearing(data: bytes) -> int:
    """Return where in the bytes of one stream that begins which is not cleared; 0 if all is to be seen."""
    end = len(data)
    # from the end: what lies before the last mark that counts is not looked at
    while True:
        at = data.rfind(b"\x1b[?880", 0, end)
        if at < 0:
            return 0
        mark = _MARK.match(data, at)
        if mark is not None and (mark[0] == CLEARED or _MARK.sub(b"", data[mark.end() :])):
            return mark.end()
        end = at


def without_marks(text: str) -> str:
    """Return a text of a log without them, with what was cleared."""
    return _MARK_IN_TEXT.sub("", text) if "\x1b[?880" in text else text
