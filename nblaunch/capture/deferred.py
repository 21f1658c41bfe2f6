"""Deferred bodies: what a function reads, and from which moment of the cell it counts.

The walk (`flow`) reports what happens to a *ledger*: a global name is read, a body may run, a name is bound
to a body. There are two ledgers. `Summary` is kept while the body of a function is walked and only lists
the reads. `Cell` is kept for the code that the cell executes itself; it decides which reads need the
notebook.

The rule of `Cell`: a body bound to a name counts from the moment when the name is first loaded, with what
is certainly assigned by then, and so does every body that it can reach through global names. From then on
it may run at any time (it may sit in a thread or a callback), so a function that is defined later under a
name that such a body reads counts as soon as it is defined. A body whose name is never loaded counts at the
end of the cell.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

from nblaunch.capture.scopes import Key

Assigned = Collection[Key]


class Read(NamedTuple):
    """A global name that is read, and where.

    `in_text`: only as a text may name it, see `nblaunch.payload.names_in_text`.
    """

    name: str
    line: int
    column: int
    in_text: bool = False
    as_table: bool = False


class Body:
    """Code that runs later, if at all. It is walked once, when it first counts."""

    def __init__(self, walk: Callable[[], list[Read]]) -> None:
        self._walk = walk

    @cached_property
    def reads(self) -> list[Read]:
        """The global names that the body reads before it has assigned them itself."""
        return self._walk()


class Ledger(Protocol):
    """What the walk reports to."""

    def read(self, read: Read, assigned: Assigned, *, again: bool) -> None:
        """Note that a global name is read; `again`: in a loop, so also after what follows in the loop."""

    def read_inner(self, key: Key, assigned: Assigned, *, again: bool) -> None:
        """Note that a name of a class body is read."""

    def run(self, bodies: Iterable[Body], assigned: Assigned) -> None:
        """Note that bodies may run now or at any later time."""

    def define(self, key: Key, bodies: Collection[Body], assigned: Assigned) -> None:
        """Note that a name may now stand for these bodies."""

    def forget(self, key: Key) -> None:
        """Note that a name certainly stands for something else now."""


@dataclass
class Summary:
    """The ledger of a function body: inner functions count as soon as they are made."""

    reads: list[Read]

    def read(self, read: Read, assigned: Assigned, *, again: bool) -> None:
        """See `Ledger.read`."""
        if read.name not in assigned:
            self.reads.append(read)

    def read_inner(self, key: Key, assigned: Assigned, *, again: bool) -> None:
        """See `Ledger.read_inner`: nothing waits under such a name here."""

    def run(self, bodies: Iterable[Body], assigned: Assigned) -> None:
        """See `Ledger.run`."""
        self.reads.extend(read for body in bodies for read in body.reads if read.name not in assigned)

    def define(self, key: Key, bodies: Collection[Body], assigned: Assigned) -> None:
        """See `Ledger.define`."""
        self.run(bodies, assigned)

    def forget(self, key: Key) -> None:
        """See `Ledger.forget`: nothing is remembered here."""


class Cell:
    """The ledger of the cell's own code."""

    def __init__(self) -> None:
        self._needs: dict[str, tuple[int, int]] = {}
        self._stated: set[str] = set()
        self._in_texts: dict[str, bool] = {}
        self._waiting: dict[Key, list[Body]] = {}
        self._counted: set[Body] = set()
        self._may_run_again: set[Key] = set()

    def read(self, read: Read, assigned: Assigned, *, again: bool) -> None:
        """See `Ledger.read`."""
        if read.name not in assigned:
            self._need(read)
        self.read_inner(read.name, assigned, again=again)

    def read_inner(self, key: Key, assigned: Assigned, *, again: bool) -> None:
        """See `Ledger.read_inner`."""
        if again:
            self._may_run_again.add(key)
        if key in self._waiting:
            self.run(self._waiting[key], assigned)

    def run(self, bodies: Iterable[Body], assigned: Assigned) -> None:
        """See `Ledger.run`. Follows global names from body to body; each is visited once."""
        todo = list(bodies)
        visited: set[Body] = set()
        while todo:
            body = todo.pop()
            if body in visited:
                continue
            visited.add(body)
            for read in body.reads:
                self._may_run_again.add(read.name)
                if read.name not in assigned:
                    self._need(read)
                todo.extend(self._waiting.get(read.name, ()))
        self._counted |= visited

    def define(self, key: Key, bodies: Collection[Body], assigned: Assigned) -> None:
        """See `Ledger.define`."""
        self._waiting.setdefault(key, []).extend(bodies)
        if key in self._may_run_again:
            self.run(bodies, assigned)

    def forget(self, key: Key) -> None:
        """See `Ledger.forget`."""
        self._waiting.pop(key, None)

    def close(self, assigned: Assigned | None) -> dict[str, int]:
        """Count what was never loaded, and return the needed names in order of appearance.

        Parameters
        ----------
        assigned : collection of keys, or None
            What is certainly assigned at the end of the cell; None if the end is never reached.
        """
        if assigned is not None:
            unused = [body for bodies in self._waiting.values() for body in bodies if body not in self._counted]
            self.run(unused, assigned)
        in_order = sorted(self._needs, key=self._needs.__getitem__)
        return {name: self._needs[name][0] for name in in_order}

    def in_texts_only(self) -> dict[str, bool]:
        """Return those of the needed names that only texts name, and whether as a table only."""
        return {name: as_table for name, as_table in self._in_texts.items() if name not in self._stated}

    def _need(self, read: Read) -> None:
        if not read.in_text:
            self._stated.add(read.name)
        else:
            self._in_texts[read.name] = read.as_table and self._in_texts.get(read.name, True)
        place = (read.line, read.column)
        self._needs[read.name] = min(place, self._needs.get(read.name, place))
