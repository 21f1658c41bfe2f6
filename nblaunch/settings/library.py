"""`Library`: how the settings of one library are read in the notebook and made in a rank."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import Any, NamedTuple

__all__ = ["Library", "Remembered", "attribute", "differing", "set_attribute"]


class Library(NamedTuple):
    """A library with settings that hold for a whole process.

    Attributes
    ----------
    module : str
        The module that has the settings. They are read if the notebook has imported it, and made in a rank as soon as
        the rank imports it.
    read : callable
        Gets the module and returns the settings that differ from the library's defaults, as plain objects if possible.
        The name ``"stays"`` is no setting: it holds sentences about what cannot be made in a rank.
    apply : callable
        Gets the module, the name of a setting and its value, and makes the setting.
    again_after : callable
        Gets name and value of a setting, and returns modules: when one of them is imported, the setting is made again.
    """

    module: str
    read: Callable[[Any], dict[str, Any]]
    apply: Callable[[Any, str, Any], object]
    again_after: Callable[[str, Any], Iterable[str]] = lambda _, __: ()


class Remembered:
    """All values at the last reading, and those of them that differed: comparing is much faster than reading again."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.changed: dict[str, Any] = {}


def differing(found: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that differ from their defaults; values without a default here are left out."""
    return {name: found[name] for name, default in defaults.items() if name in found and found[name] != default}


def attribute(owner: Any, path: str, missing: Any = None) -> Any:
    """Return an attribute by its dotted path, or `missing` where a version of the library has none."""
    try:
        return reduce(getattr, path.split("."), owner)
    except AttributeError:
        return missing


def set_attribute(owner: Any, path: str, value: Any) -> None:
    """Set an attribute by its dotted path."""
    *outer, last = path.split(".")
    setattr(reduce(getattr, outer, owner), last, value)
