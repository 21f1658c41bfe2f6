"""`Displaying`: the outputs that ranks display, update and clear, kept up to date as a frontend does it.

::

    Displayed ─► Displaying ─┬─► Outputs: kept in ``run.outputs``
                             └─► Places: shown under the cell
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from nblaunch.events import Displayed, DisplayKind

__all__ = ["Displaying"]

Item = TypeVar("Item")


class Displaying(ABC, Generic[Item]):
    """The outputs that each rank has at the moment.

    Attributes
    ----------
    by_rank : dict of int to list
        In the order in which each rank displayed them; of an output that was updated, its last content.
    """

    def __init__(self) -> None:
        self.by_rank: dict[int, list[Item]] = {}
        self._named: dict[int, dict[str, list[Item]]] = {}
        self._to_clear: set[int] = set()

    def note(self, event: Displayed) -> None:
        """Take what a rank displayed, updated or cleared."""
        rank = event.rank
        if event.kind == DisplayKind.CLEAR:
            if event.wait:
                self._to_clear.add(rank)
            else:
                self._clear(rank)
            return
        if event.kind == DisplayKind.NEW and rank in self._to_clear:
            self._clear(rank)
        named = self._named.setdefault(rank, {})
        # a new output with a known display id also changes the earlier ones, as in frontends
        for item in named.get(event.display_id, ()) if event.display_id is not None else ():
            self.change(item, event)
        if event.kind == DisplayKind.NEW:
            item = self.made(event)
            self.by_rank.setdefault(rank, []).append(item)
            if event.display_id is not None:
                named.setdefault(event.display_id, []).append(item)
            self.added(item, event)

    @abstractmethod
    def made(self, event: Displayed) -> Item:
        """Return what stands for a new output."""

    @abstractmethod
    def change(self, item: Item, event: Displayed) -> None:
        """Give an output other content."""

    def added(self, item: Item, event: Displayed) -> None:
        """Take note that an output is the last one of its rank now."""

    def left(self, rank: int, items: list[Item]) -> None:
        """Take note that outputs are not there any more."""

    def _clear(self, rank: int) -> None:
        self._to_clear.discard(rank)
        self._named.pop(rank, None)
        items = self.by_rank.get(rank, [])
        left = items[:]
        # the list object stays the same, because somebody may hold it
        items.clear()
        self.left(rank, left)
