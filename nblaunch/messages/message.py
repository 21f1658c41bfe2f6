"""`Message`: what every kind of message of a rank has. Each kind is a frozen dataclass in a file of this package.

For example `nblaunch.messages.displays.Display`: the rank calls ``Display(…).pack()`` and sends the bytes, the gang
makes a `Display` of them again (see `nblaunch.messages.decoder`) and tells what its ``event(…)`` returns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum
from typing import Any, ClassVar

from nblaunch.events import Event, LastWord
from nblaunch.payload import Packed, Parts, Stored, pack_plain, unpack_plain

__all__ = ["Body", "Message", "pack_fields", "read_fields", "require_types"]

Body = bytearray | Parts
"""What the gang receives: the bytes as they came, or, if they were many, views of mapped memory."""


class Message(ABC):
    """One message of a rank.

    Attributes
    ----------
    KIND : str
        What the header of the message says. It stands nowhere else.
    LAST_WORD : LastWord or None
        What such a message ends a rank's work with; None if the rank goes on.
    VERB : str
        What a rank has done that sends one, for a sentence about one that makes no sense.
    """

    KIND: ClassVar[str]
    LAST_WORD: ClassVar[LastWord | None] = None
    VERB: ClassVar[str] = "sent"

    @abstractmethod
    def pack(self) -> bytes | Packed | Stored:
        """Return the body, in the rank."""

    @classmethod
    @abstractmethod
    def read(cls, body: Body) -> Message:
        """Make the message again. This runs in the gang's thread, so it runs no code of the user's.

        Raises
        ------
        KeyError, TypeError, ValueError, MemoryError
            If the body makes no sense: a rank can send anything.
        """

    @classmethod
    def unreadable(cls, why: str) -> Message | None:
        """Return what counts in place of a message that makes no sense; None if the rank is as well without it."""
        return None

    @abstractmethod
    def event(self, rank: int, at: float) -> Event:
        """Return what the gang tells of it; `at` is the time at which the rank has sent it."""


def pack_fields(message: Message) -> Packed:
    """Pack the fields of a message that has none but plain objects and enumerations."""
    fields: dict[str, Any] = vars(message)
    return pack_plain({name: each.value if isinstance(each, Enum) else each for name, each in fields.items()})


def read_fields(body: Body) -> dict[str, Any]:
    """Read what `pack_fields` has packed.

    Raises
    ------
    TypeError, ValueError
        If it is something else.
    """
    fields = unpack_plain(body)
    if not isinstance(fields, dict):
        raise TypeError(f"its fields are a {type(fields).__name__}")
    return fields


def require_types(message: Message, **types: type | tuple[type, ...]) -> None:
    """Raise a TypeError if an attribute of the message is of another type than is said here."""
    for name, kinds in types.items():
        kind = type(getattr(message, name))
        if kind not in (kinds if isinstance(kinds, tuple) else (kinds,)):
            raise TypeError(f"its {name} is a {kind.__name__}")
