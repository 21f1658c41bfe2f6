"""`Display`: what a rank displays, as `nblaunch.events.Displayed` has it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from nblaunch.events import Displayed, DisplayKind
from nblaunch.messages.message import Body, Message, pack_fields, read_fields, require_types
from nblaunch.payload import Packed

__all__ = ["Display"]


@dataclass(frozen=True)
class Display(Message):
    """A new output, new content for earlier outputs, or their removal; for the fields see `Displayed`."""

    KIND: ClassVar[str] = "display"
    VERB: ClassVar[str] = "displayed"

    kind: DisplayKind
    data: dict[str, Any] = field(default_factory=dict, repr=False)
    metadata: dict[str, Any] = field(default_factory=dict, repr=False)
    display_id: str | None = None
    wait: bool = False

    def pack(self) -> Packed:
        """Return the fields as plain objects.

        Raises
        ------
        ValueError
            If a field holds an object that is not plain.
        """
        return pack_fields(self)

    @classmethod
    def read(cls, body: Body) -> Display:
        """Read the fields."""
        fields = read_fields(body)
        display = cls(DisplayKind(fields.pop("kind")), **fields)
        require_types(display, data=dict, metadata=dict, display_id=(str, type(None)), wait=bool)
        if display.kind == DisplayKind.UPDATE and display.display_id is None:
            raise ValueError("an update of nothing")
        return display

    def event(self, rank: int, at: float) -> Displayed:
        """Return the event that the rank displayed this."""
        return Displayed(rank, self.kind, self.data, self.metadata, self.display_id, at, self.wait)
