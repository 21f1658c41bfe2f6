"""Deferred bodies: which global names a function reads, and when in the cell it may read them.

For example, ``def f(): return k`` and ``k = 1`` and ``f()`` need nothing from the notebook; with ``f()`` before
``k = 1``, they need ``k``.

The walk over the cell (`flow`) reports to a *ledger* when a global name is read, a body may run, or a name is bound to
a body. There are two ledgers. `Summary` is that of the body of a function, and only lists the reads. `Cell` is that of
the code that the cell executes itself, and decides which reads need the notebook.

The rule of `Cell`: a body that is bound to a name may run from the moment when the name is first loaded. At that moment
its reads are compared with what is certainly assigned, as are those of each body that it can reach through global
names. From then on it may run at any time, in a thread or a callback for example. So a function that is defined later,
under a name that such a body reads, may run as soon as it is defined. A body whose name is never loaded is looked at
when the cell ends.
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

    With `in_text`, a text may name it; with `as_table`, only as a table of SQL. See `nblaunch.payload.names_in_text`.
    """

    name: str
    line: int
    column: int
    in_text: bool = False
    as_table: bool = False


class Body:
    """Code that runs later, if at all. It is walked once, when its reads are first needed."""

    def __init__(self, walk: Callable[[], list[Read]]) -> None:
        self._walk = walk

    @cached_property
    def reads(self) -> list[Read]:
        """The global names that the body reads before it has assigned them itself."""
        return self._walk()


class Ledger(Protocol):
    """What the walk reports to."""

    def read(self, read: Read, assigned: Assigned, *, again: bool) -> None:
        """Note that a global name is read; with `again`, in a loop, so that it may be read again later."""

    def read_inner(self, key: Key, assigned: Assigned, *, again: bool) -> None:
        """Note that a name of a class body is read."""

    def run(self, bodies: Iterable[Body], assigned: Assigned) -> None:
        """Note that bodies may run now or at any later time."""

    def define(self, key: Key, bodies: Collection[Body], assigned: Assigned) -> None:
        """Note that a name may now stand for these bodies."""

    def forget(self, key: Key) -> None:
        """Note that a name certainly does not stand for its earlier bodies any more."""


@dataclass
class Summary:
    """The ledger of a function body: inner functions may run as soon as they are defined."""

    reads: list[Read]

    def read(self, read: Read, assigned: Assigned, *, again: bool) -> None:
        """See `Ledger.read`."""
        if read.name not in assigned:
            self.reads.append(read)

    def read_inner(self, key: Key, assigned: Assigned, *, again: bool) -> None:
        """See `Ledger.read_inner`: no body is kept by such a name here."""

    def run(self, bodies: Iterable[Body], assigned: Assigned) -> None:
        """See `Ledger.run`."""
        self.reads.extend(read for body in bodies for read in body.reads if read.name not in assigned)

    def define(self, key: Key, bodies: Collection[Body], assigned: Assigned) -> None:
        """See `Ledger.define`."""
        self.run(bodies, assigned)

    def forget(self, key: Key) -> None:
        """See `Ledger.forget`: no body is kept here."""


class Cell:
    """The ledger of the cell's own code."""

    def __init__(self) -> None:
        self._needs: dict[str, tuple[int, int]] = {}
        self._named_by_code: set[str] = set()
        self._in_texts: dict[str, bool] = {}
        self._bodies: dict[Key, list[Body]] = {}
        self._visited: set[Body] = set()
        # names that code reads which may run at any later time
        self._may_be_read_again: set[Key] = set()

    def read(self, read: Read, assigned: Assigned, *, again: bool) -> None:
        """See `Ledger.read`."""
        if read.name not in assigned:
            self._need(read)
        self.read_inner(read.name, assigned, again=again)

    def read_inner(self, key: Key, assigned: Assigned, *, again: bool) -> None:
        """See `Ledger.read_inner`."""
        if again:
            self._may_be_read_again.add(key)
        if key in self._bodies:
            self.run(self._bodies[key], assigned)

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
                self._may_be_read_again.add(read.name)
                if read.name not in assigned:
                    self._need(read)
                todo.extend(self._bodies.get(read.name, ()))
        self._visited |= visited

    def define(self, key: Key, bodies: Collection[Body], assigned: Assigned) -> None:
        """See `Ledger.define`."""
        self._bodies.setdefault(key, []).extend(bodies)
        if key in self._may_be_read_again:
            self.run(bodies, assigned)

    def forget(self, key: Key) -> None:
        """See `Ledger.forget`."""
        self._bodies.pop(key, None)

    def close(self, assigned: Assigned | None) -> dict[str, int]:
        """Visit the bodies that were never loaded, and return the needed names in order of appearance, with lines.

        Parameters
        ----------
        assigned : collection of keys, or None
            What is certainly assigned at the end of the cell; None if the end is never reached.
        """
        if assigned is not None:
            unused = [body for bodies in self._bodies.values() for body in bodies if body not in self._visited]
            self.run(unused, assigned)
        in_order = sorted(self._needs, key=self._needs.__getitem__)
        return {name: self._needs[name][0] for name in in_order}

    def in_texts_only(self) -> dict[str, bool]:
        """Return the needed names that only texts name, and whether as a table only."""
        return {name: as_table for name, as_table in self._in_texts.items() if name not in self._named_by_code}

    def _need(self, read: Read) -> None:
        if not read.in_text:
            self._named_by_code.add(read.name)
        else:
            self._in_texts[read.name] = read.as_table and self._in_texts.get(read.name, True)
        place = (read.line, read.column)
        self._needs[read.name] = min(place, self._needs.get(read.name, place))
