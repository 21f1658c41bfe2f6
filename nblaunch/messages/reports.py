"""`ErrorReport`: the exception of a rank; `HeldReport`: the same while the rank waits for a debugger.

A report has two parts. The texts can be read without running user code, and so in the thread that watches the ranks.
The exception itself cannot: its class may do anything when it is rebuilt.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, ClassVar

from nblaunch.events import LastWord, Raised
from nblaunch.messages.message import Body, Message, require_types
from nblaunch.payload import encodable, pack_exception, pack_plain, split, text_of, type_name, unpack_plain

__all__ = ["ErrorReport", "HeldReport"]

# The whole text is in the exception and in its traceback.
_MAX_SUMMARY_CHARACTERS = 300
# Characters at the beginning and at the end of a long traceback that a panel shows.
_MAX_TRACEBACK_END_CHARACTERS = 20_000


@dataclass(frozen=True)
class ErrorReport(Message):
    """The exception that ended a rank's work.

    Parameters
    ----------
    type_name, text : str
        Name of the exception's type, and its ``str()``.
    traceback : str
        The traceback as a notebook shows it, with its colours.
    raised_at : float
        `time.monotonic` at which it was raised: the rank may have been held for a debugger since.
    exception : Packed in the rank, Parts in the gang
        What `nblaunch.payload.unpack` rebuilds the exception from; None if it cannot be sent.
    problem : str
        Why the report could not be read, so that all other fields are empty; empty if it could.
    """

    KIND: ClassVar[str] = "error"
    LAST_WORD: ClassVar[LastWord | None] = LastWord.ERROR
    HELD: ClassVar[bool] = False

    type_name: str
    text: str
    traceback: str = field(repr=False)
    raised_at: float
    exception: Any = field(default=None, repr=False)
    problem: str = ""

    @classmethod
    def of(
        cls,
        error: BaseException,
        traceback: str,
        *,
        home_classes: frozenset[str] = frozenset(),
        raised_at: float | None = None,
    ) -> ErrorReport:
        """Return the report of an exception.

        Parameters
        ----------
        error : BaseException
            The exception.
        traceback : str
            Its traceback as text.
        home_classes : frozenset of str
            See `nblaunch.payload.pack`.
        raised_at : float, optional
            `time.monotonic` at which it was raised; by default now.
        """
        at = time.monotonic() if raised_at is None else raised_at
        return cls(type_name(error), text_of(error), traceback, at, pack_exception(error, home_classes=home_classes))

    def pack(self) -> bytes:
        """Return the two parts, one after the other."""
        names = ("type_name", "text", "traceback", "raised_at")
        texts = pack_plain({name: getattr(self, name) for name in names})
        return bytes(texts) + (b"" if self.exception is None else bytes(self.exception))

    @classmethod
    def read(cls, body: Body) -> ErrorReport:
        """Read the texts, and leave the exception packed."""
        parts = [] if isinstance(body, list) else split(body)
        if len(parts) not in (1, 2):
            raise ValueError("it does not have two parts")
        report = cls(**unpack_plain(parts[0]), exception=parts[1] if len(parts) > 1 else None, problem="")
        require_types(report, type_name=str, text=str, traceback=str, raised_at=float)
        return report

    @classmethod
    def unreadable(cls, why: str) -> ErrorReport:
        """Return a report without an exception: the rank has failed, whatever it has sent."""
        problem = (
            f"it sent bytes that are no exception ({why}). Look for code in this rank that writes to descriptors or "
            "sockets which it has not opened itself"
        )
        return cls("", "", "", 0.0, problem=problem)

    def event(self, rank: int, at: float) -> Raised:
        """Return the event, with texts short enough to be shown; the report in it has the rest."""
        if self.problem:
            return Raised(rank, encodable(self.problem), "", at, at, self.HELD, self)
        summary = (f"{self.type_name}: {self.text}".splitlines() or [""])[0].removesuffix(": ")
        traceback = self.traceback
        end = _MAX_TRACEBACK_END_CHARACTERS
        if len(traceback) > 2 * end:
            traceback = f"{traceback[:end]}\n…\n{traceback[-end:]}"
        summary = encodable(summary[:_MAX_SUMMARY_CHARACTERS])
        return Raised(rank, summary, encodable(traceback), at, self.raised_at, self.HELD, self)


class HeldReport(ErrorReport):
    """The exception of a rank that waits for a debugger: it may be ended before it can send an `ErrorReport`."""

    KIND: ClassVar[str] = "held"
    LAST_WORD: ClassVar[LastWord | None] = None
    HELD: ClassVar[bool] = True
