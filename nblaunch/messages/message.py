"""`Message`: the base class of the messages of a rank. Each kind is a frozen dataclass in a file of this package.

For example `nblaunch.messages.displays.Display`: the rank calls ``Display(…).pack()`` and sends the bytes. The gang
makes a `Display` of them again (see `nblaunch.messages.decoder`), and reports what its ``event(…)`` returns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum
from typing import Any, ClassVar

from nblaunch.events import Event, LastWord
from nblaunch.payload import Packed, Parts, Stored, pack_plain, unpack_plain

__all__ = ["Body", "Message", "pack_fields", "read_fields", "require_types"]

Body = bytearray | Parts
"""What the gang receives: the bytes of a small message, or views of mapped memory for a large one."""


class Message(ABC):
    """One message of a rank.

    Attributes
    ----------
    KIND : str
        What the header of the message says. No other module repeats this text.
    LAST_WORD : LastWord or None
        How the rank's work has ended, if this message ends it; None if the rank goes on.
    VERB : str
        The verb of the warning about an unreadable message, as in "rank 2 displayed what makes no sense".
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
        """Rebuild the message. This happens in the gang's thread, so it must not run user code.

        Raises
        ------
        KeyError, TypeError, ValueError, MemoryError
            If the body makes no sense: a rank can send anything.
        """

    @classmethod
    def unreadable(cls, why: str) -> Message | None:
        """Return what takes the place of a message that makes no sense; None if it may be dropped."""
        return None

    @abstractmethod
    def event(self, rank: int, at: float) -> Event:
        """Return what the gang reports; `at` is the time (`time.monotonic`) at which the rank sent the message."""


def pack_fields(message: Message) -> Packed:
    """Pack the fields of a message, which must be plain objects or enumerations."""
    fields: dict[str, Any] = vars(message)
    return pack_plain({name: each.value if isinstance(each, Enum) else each for name, each in fields.items()})


def read_fields(body: Body) -> dict[str, Any]:
    """Read what `pack_fields` has packed.

    Raises
    ------
    TypeError, ValueError
        If the body is something else.
    """
    fields = unpack_plain(body)
    if not isinstance(fields, dict):
        raise TypeError(f"its fields are a {type(fields).__name__}")
    return fields


def require_types(message: Message, **types: type | tuple[type, ...]) -> None:
    """Raise a TypeError if an attribute of the message is not of the type given here."""
    for name, kinds in types.items():
        kind = type(getattr(message, name))
        if kind not in (kinds if isinstance(kinds, tuple) else (kinds,)):
            raise TypeError(f"its {name} is a {kind.__name__}")
