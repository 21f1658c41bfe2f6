"""`Display`: what a rank displays, as `nblaunch.events.Displayed` has it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nblaunch.events import Displayed
from nblaunch.messages.message import Body, Message, require_types
from nblaunch.payload import Packed, pack_plain, unpack_plain

__all__ = ["Display"]


@dataclass(frozen=True)
class Display(Message):
    """An output, other content for outputs, or the end of all of them; for the fields see `Displayed`."""

    KIND = "display"
    VERB = "displayed"

    kind: str
    data: dict[str, Any] = field(default_factory=dict, repr=False)
    metadata: dict[str, Any] = field(default_factory=dict, repr=False)
    display_id: str | None = None
    wait: bool = False

    def pack(self) -> Packed:
        """Return the fields as plain objects.

        Raises
        ------
        ValueError
            If one of them holds something else.
        """
        return pack_plain(vars(self))

    @classmethod
    def read(cls, body: Body) -> Display:
        """Read the fields."""
        display = cls(**unpack_plain(body))
        require_types(display, kind=str, data=dict, metadata=dict, display_id=(str, type(None)), wait=bool)
        if display.kind not in ("display", "update", "clear"):
            raise ValueError(f"no kind of display: {display.kind!r:.100}")
        if display.kind == "update" and display.display_id is None:
            raise ValueError("an update of nothing")
        return display

    def event(self, rank: int, at: float) -> Displayed:
        """Tell what the rank displayed."""
        return Displayed(rank, self.kind, self.data, self.metadata, self.display_id, at, self.wait)
