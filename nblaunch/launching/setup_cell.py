"""The registered set-up cell, which has run in the notebook and runs at the beginning of every rank.

There is one at a time. It is kept with the objects that it uses, as they were *before* it ran here, so that it does in
a rank what it did here. For example, a function that the cell wraps is wrapped once in each process, not twice.
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
    """A set-up cell that has run in the notebook.

    Parameters
    ----------
    cell : SetUp
        The cell, as it is sent to the ranks.
    objects : Packed
        The objects of the notebook that it uses, as they were before it ran.
    plain : dict of str to object
        Numbers and texts that it has bound here. A rank keeps those that it binds itself, as long as the notebook has
        not bound others.
    left_here : dict of str to object
        Objects that it has bound here and that cannot be sent, such as a connection. A rank makes its own.
    """

    cell: SetUp
    objects: Packed
    plain: Mapping[str, object] = field(default_factory=dict)
    left_here: Mapping[str, object] = field(default_factory=dict)

    def own_names(self, namespace: Mapping[str, object]) -> tuple[str, ...]:
        """Return the names of numbers and texts that a rank keeps from the set-up cell."""
        return tuple(name for name, value in self.plain.items() if namespace.get(name) is value)

    def provided(self, namespace: Mapping[str, object]) -> dict[str, object]:
        """Return the objects that need not be sent, because the set-up cell makes them in a rank."""
        return {name: value for name, value in self.left_here.items() if namespace.get(name) is value}

    def text(self) -> str:
        """Return the cell for people."""
        # without its first line, a comment in the place of the magic's line
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
    """Have a cell that has run here run in every rank, and return the one that it replaces.

    Parameters
    ----------
    cell, objects
        See `RegisteredSetUp`.
    before, namespace : dict
        The notebook's variables before the cell ran, and now.
    provided : mapping of str to object
        Variables that the shell of a rank has too.
    """
    global _current
    bound = {
        name: value
        for name, value in namespace.items()
        if _is_variable(name) and name not in provided and before.get(name, _UNBOUND) is not value
    }
    plain = {name: value for name, value in bound.items() if type(value) in _PLAIN}
    left_here = {
        name: value
        for name, value in bound.items()
        if name not in plain and not _can_be_sent(value, namespace, provided)
    }
    replaced, _current = _current, RegisteredSetUp(cell, objects, plain, left_here)
    return replaced


_UNBOUND = object()


def _is_variable(name: object) -> bool:
    # a key of globals() may be of any type
    return isinstance(name, str) and not name.startswith("_")


def _can_be_sent(value: object, namespace: dict[str, Any], provided: Mapping[str, object]) -> bool:
    try:
        pack(value, shared_globals=namespace, provided=provided)
    except (Exception, SystemExit):  # a user's __reduce__ may raise anything
        return False
    return True


def clear() -> RegisteredSetUp | None:
    """Have ranks begin without a set-up cell, and return the one that there was."""
    global _current
    removed, _current = _current, None
    return removed
