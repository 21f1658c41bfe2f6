"""`Value`: what a rank sends when it has finished."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from nblaunch.events import Finished, LastWord
from nblaunch.messages.message import Body, Message
from nblaunch.payload import Packed, Stored

__all__ = ["Value"]


@dataclass(frozen=True)
class Value(Message):
    """The value of a rank.

    Parameters
    ----------
    body : Packed or Stored in the rank, bytearray or Parts in the gang
        The packed value. The gang does not rebuild it, because that may run user code.
    """

    KIND: ClassVar[str] = "value"
    LAST_WORD: ClassVar[LastWord | None] = LastWord.VALUE

    body: Any = field(repr=False)

    def pack(self) -> Packed | Stored:
        """Return the body."""
        packed: Packed | Stored = self.body
        return packed

    @classmethod
    def read(cls, body: Body) -> Value:
        """Take the body as it is."""
        return cls(body)

    def event(self, rank: int, at: float) -> Finished:
        """Return the event that the rank has finished."""
        return Finished(rank, self.body, at)
