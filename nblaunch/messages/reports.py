"""What a rank reports of its exception: `pack_report` there, `read_report` here.

A report has two parts: texts, which can be read without running code of the user's, and so in the thread that watches
the ranks; and the exception itself, whose class may do anything when it is rebuilt.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from nblaunch.payload import Parts, pack_exception, pack_plain, split, text_of, type_name, unpack_plain

__all__ = ["ErrorReport", "pack_report", "read_report"]


@dataclass(frozen=True)
class ErrorReport:
    """The exception of a rank.

    Parameters
    ----------
    type_name, text : str
        Name of its type, and ``str()`` of it.
    traceback : str
        As a notebook shows it, with its colours.
    exception : buffer or Parts
        What `nblaunch.payload.unpack` rebuilds it from.
    raised_at : float
        `time.monotonic` at which it was raised: the rank may have been held for a debugger since.
    """

    type_name: str
    text: str
    traceback: str = field(repr=False)
    exception: Any = field(repr=False)
    raised_at: float = 0.0


def pack_report(
    error: BaseException, traceback: str, *, home_classes: frozenset[str] = frozenset(), raised_at: float | None = None
) -> bytes:
    """Turn an exception into the body of a message of kind ``"error"``.

    Parameters
    ----------
    error : BaseException
        What was raised.
    traceback : str
        How it reads.
    home_classes : frozenset of str
        See `nblaunch.payload.pack`.
    raised_at : float, optional
        When; by default now.
    """
    at = time.monotonic() if raised_at is None else raised_at
    texts = {"type": type_name(error), "text": text_of(error), "traceback": traceback, "raised_at": at}
    return bytes(pack_plain(texts)) + bytes(pack_exception(error, home_classes=home_classes))


def read_report(body: bytearray | Parts) -> ErrorReport:
    """Read the body of a message of kind ``"error"``.

    Raises
    ------
    ValueError
        If it is none: a rank can send anything.
    """
    parts = [] if isinstance(body, list) else split(body)
    if len(parts) != 2:
        raise ValueError("it does not have two parts")
    texts = unpack_plain(parts[0])
    if not isinstance(texts, dict):
        raise ValueError("its first part is no dictionary")
    type_name, text, traceback = (texts.get(name) for name in ("type", "text", "traceback"))
    if not (isinstance(type_name, str) and isinstance(text, str) and isinstance(traceback, str)):
        raise ValueError("type, text and traceback are not all texts")
    raised_at = texts.get("raised_at")
    if not isinstance(raised_at, float):
        raise ValueError("when it was raised is no number")
    return ErrorReport(type_name, text, traceback, parts[1], raised_at)
