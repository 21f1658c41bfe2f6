"""The set-up cell: what has run in the notebook, and runs at the beginning of every rank from then on.

There is one at a time. It is kept together with the objects that it used, as they were *before* it ran here, so that a
rank runs it from the same beginning: what wraps a function twice wraps it once in each process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nblaunch.messages.work import SetUp
from nblaunch.payload import Packed, pack

__all__ = ["RegisteredSetUp", "clear", "current", "register"]

_PLAIN = (bool, int, float, complex, str, bytes, type(None))


@dataclass(frozen=True)
class RegisteredSetUp:
    """A set-up cell that has run here.

    Parameters
    ----------
    cell : SetUp
        What ranks are told to run.
    objects : Packed
        Objects of the notebook that it uses.
    plain : dict of str to object
        Numbers and texts that it has bound: each rank's are its own, unless the notebook has bound others since.
    left_here : dict of str to object
        What it has bound and cannot travel, such as a connection: each rank has made its own.
    """

    cell: SetUp
    objects: Packed
    plain: Mapping[str, object] = field(default_factory=dict)
    left_here: Mapping[str, object] = field(default_factory=dict)

    def own_names(self, namespace: Mapping[str, object]) -> tuple[str, ...]:
        """Return the names whose numbers and texts are each rank's own."""
        return tuple(name for name, value in self.plain.items() if namespace.get(name) is value)

    def provided(self, namespace: Mapping[str, object]) -> dict[str, object]:
        """Return what a rank has of its own by the time that the notebook's objects arrive."""
        return {name: value for name, value in self.left_here.items() if namespace.get(name) is value}

    def text(self) -> str:
        """Return it for a person."""
        # without the line that stands for the magic's own
        lines = self.cell.source.split("\n")[1:] if self.cell.source.startswith("# %%") else [self.cell.source]
        return f"Cell In[{self.cell.number}] runs at the beginning of every rank:\n" + "\n".join(lines).rstrip()


_current: RegisteredSetUp | None = None


def current() -> RegisteredSetUp | None:
    """Return the set-up cell of this process, if there is one."""
    return _current


def register(
    cell: SetUp,
    objects: Packed,
    before: Mapping[str, object],
    namespace: dict[str, Any],
    provided: Mapping[str, object],
) -> RegisteredSetUp | None:
    """Have a cell that has run here run in every rank, and return the one whose place it takes.

    Parameters
    ----------
    cell, objects
        See `RegisteredSetUp`.
    before, namespace : dict
        The notebook's variables before the cell ran, and now.
    provided : mapping of str to object
        Those that a rank's shell has of its own.
    """
    global _current
    bound = {
        name: value
        for name, value in namespace.items()
        if _is_variable(name) and name not in provided and before.get(name, _NOTHING) is not value
    }
    plain = {name: value for name, value in bound.items() if type(value) in _PLAIN}
    left_here = {
        name: value
        for name, value in bound.items()
        if name not in plain and not _can_travel(value, namespace, provided)
    }
    replaced, _current = _current, RegisteredSetUp(cell, objects, plain, left_here)
    return replaced


_NOTHING = object()


def _is_variable(name: object) -> bool:
    # globals() takes keys of any type
    return isinstance(name, str) and not name.startswith("_")


def _can_travel(value: object, namespace: dict[str, Any], provided: Mapping[str, object]) -> bool:
    try:
        pack(value, shared_globals=namespace, provided=provided)
    except (Exception, SystemExit):  # __reduce__ may be anybody's
        return False
    return True


def clear() -> RegisteredSetUp | None:
    """Have ranks begin without a set-up cell, and return the one that there was."""
    global _current
    removed, _current = _current, None
    return removed
