"""`Setting`: one thing that a library lets users choose for a whole process, and how it is read and chosen again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

__all__ = ["UNCHANGED", "Setting", "attribute", "changed_items"]


class _Unchanged:
    """A setting has the value that every new process gives it."""

    def __repr__(self) -> str:
        return "unchanged"


UNCHANGED: Any = _Unchanged()
"""What `Setting.read` returns of a setting that need not travel."""


@dataclass(frozen=True)
class Setting:
    """One setting of a library.

    Parameters
    ----------
    module : str
        The module that has to be imported for it.
    name : str
        How it is called in messages.
    read : callable
        Gets the module, and returns the value, or `UNCHANGED`.
    choose : callable
        Gets the module of another process and the value.
    parts : callable, optional
        Splits a value by the modules that have to be imported for each part of it.
    """

    module: str
    name: str
    read: Callable[[Any], Any]
    choose: Callable[[Any, Any], object]
    parts: Callable[[Any], Mapping[str, Any]] | None = None


def attribute(module: str, path: str, default: object) -> Setting:
    """Return a setting that is an attribute, dots included, of a module."""
    *parents, last = path.split(".")

    def holder(found: ModuleType) -> Any:
        inner: Any = found
        for part in parents:
            inner = getattr(inner, part)
        return inner

    def read(found: ModuleType) -> Any:
        value = getattr(holder(found), last, default)
        return UNCHANGED if value == default else value

    return Setting(module, f"{module}.{path}", read, lambda found, value: setattr(holder(found), last, value))


def changed_items(now: Mapping[str, Any], defaults: Mapping[str, Any]) -> Any:
    """Return the items of `now` that are others than by default, or `UNCHANGED`."""
    changed = {name: value for name, value in now.items() if name in defaults and value != defaults[name]}
    return changed or UNCHANGED
