"""How a rank is described: `RankSpec`, what it starts with, and `Descriptors`, what it inherits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["MOST_BAGS", "Descriptors", "RankSpec"]

MOST_BAGS = 64
"""Sockets with descriptors that one rank may be given."""


@dataclass(frozen=True)
class RankSpec:
    """What one rank starts with.

    Parameters
    ----------
    rank : int
        Its number in the gang.
    entry : str
        ``"module:function"`` for a Python rank; empty for a program.
    command : tuple of str
        Program and arguments; empty for a Python rank.
    cpus : tuple of int
        The processors on which a program may run; empty for any.
    env : dict of str to str
        The whole environment.
    cwd : str or None
        Working directory; None keeps the parent's.
    stdout, stderr : str
        Files for descriptors 1 and 2; an empty string leaves the parent's.
    stacks : str
        File for the stacks of a Python rank's threads, see `nblaunch.stacks.dump`; empty for none.
    sys_path, argv : tuple of str
        ``sys.path`` and ``sys.argv`` of a Python rank.
    main_module, main_path : str
        Main module to import under the name ``__main__`` first, by name or by path; see `multiprocessing.spawn`.
    stays : bool
        Whether more tasks follow the first one.
    """

    rank: int
    entry: str = ""
    command: tuple[str, ...] = ()
    cpus: tuple[int, ...] = ()
    env: dict[str, str] = field(default_factory=dict, repr=False)
    cwd: str | None = None
    stdout: str = ""
    stderr: str = ""
    stacks: str = ""
    sys_path: tuple[str, ...] = field(default=(), repr=False)
    argv: tuple[str, ...] = ("",)
    main_module: str = ""
    main_path: str = ""
    stays: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return the fields that a process cannot find in itself."""
        # not asdict(), which copies every part of every part
        return {name: value for name, value in vars(self).items() if name != "env"}


@dataclass(frozen=True)
class Descriptors:
    """Descriptors that a rank inherits; -1 is one that it does not have.

    Parameters
    ----------
    control : int
        Socket to the gang.
    payload : tuple of int
        The files of the gang's payload.
    guard : int
        Reading end of the guard pipe.
    bags : tuple of int
        Where the descriptors wait that arguments hold, see `nblaunch.processes.elastic.inheritance`.
    stdout, stderr : int
        What the rank writes to where its description names no file; -1 leaves what the process has.
    """

    control: int = -1
    payload: tuple[int, ...] = ()
    guard: int = -1
    bags: tuple[int, ...] = ()
    stdout: int = -1
    stderr: int = -1

    def given(self) -> tuple[int, ...]:
        """Return those that exist."""
        return (*self.payload, *self.bags, *(descriptor for _, descriptor in self._single()))

    def renumbered(self, numbers: Sequence[int]) -> Descriptors:
        """Return the same with other numbers for those that exist, which are in the order of `given`."""
        rest = iter(numbers)
        payload, bags = (tuple(next(rest) for _ in several) for several in (self.payload, self.bags))
        return Descriptors(payload=payload, bags=bags, **{name: next(rest) for name, _ in self._single()})

    def as_json(self) -> dict[str, Any]:
        """Return the fields."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Descriptors:
        """Return what `as_json` was made of."""
        return cls(**{**fields, "payload": tuple(fields["payload"]), "bags": tuple(fields["bags"])})

    def _single(self) -> list[tuple[str, int]]:
        return [(name, number) for name, number in vars(self).items() if not isinstance(number, tuple) and number >= 0]
