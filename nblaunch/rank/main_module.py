"""``__main__`` of a rank: what has come from the notebook is found there by its name, also by processes that it spawns.

`pickle` refers to a class of ``__main__`` by name, and so do `torch.save`, `joblib.dump`, collectives for objects and
pools. What has arrived in any object is found so, although it is no variable of the cell: the names that the cell binds
itself come first.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from types import FunctionType, ModuleType
from typing import Any

from nblaunch.payload import pack_named, unpack_named
from nblaunch.processes.child.imports import when_imported

__all__ = ["find_by_name", "take_over"]

_STUB = "from nblaunch.rank.main_module import take_over\ntake_over(__file__, globals())\n"


class _Main(ModuleType):
    """A main module that also has what is found by its name only."""

    def __getattr__(self, name: str) -> Any:
        try:
            return _by_name[name]
        except KeyError:
            raise AttributeError(f"module '__main__' has no attribute {name!r}") from None


_by_name: dict[str, Any] = {}


def find_by_name(names: Mapping[str, Any], folder: str) -> None:
    """Have these objects found by their names in ``__main__``.

    Parameters
    ----------
    names : mapping of str to object
        What has arrived.
    folder : str
        Where files for processes that this one spawns may lie; empty if nowhere.
    """
    main = sys.modules["__main__"]
    if type(main) is not _Main:
        if not issubclass(_Main, type(main)):  # a shell may bring a module of its own kind
            vars(main).update({name: thing for name, thing in names.items() if name not in vars(main)})
            return
        main.__class__ = _Main
    _by_name.clear()
    _by_name.update(names)
    if folder:
        when_imported("multiprocessing.spawn", lambda module: _hand_down(module, folder))


def _hand_down(module: ModuleType, folder: str) -> None:
    """Have processes that `multiprocessing` spawns find the same by name: they have no main module to import."""
    prepare: Callable[[str], dict[str, Any]] = module.get_preparation_data

    def get_preparation_data(name: str) -> dict[str, Any]:
        data = prepare(name)
        if not {"init_main_from_name", "init_main_from_path"} & data.keys():
            data["init_main_from_path"] = _write(folder)
        return data

    module.get_preparation_data = get_preparation_data  # type: ignore[attr-defined]


def _write(folder: str) -> str:
    """Write the classes and functions of ``__main__`` to a file and return the path of a script that reads them."""
    space = vars(sys.modules["__main__"])
    found = _by_name | {
        name: thing
        for name, thing in list(space.items())
        if isinstance(thing, (type, FunctionType)) and thing.__module__ == "__main__"
    }
    script = os.path.join(folder, "main.py")
    with open(f"{script}.objects", "wb") as file:
        file.write(bytes(_packed(found, space)))
    with open(script, "w", encoding="utf-8") as file:
        file.write(_STUB)
    return script


def _packed(found: dict[str, Any], space: dict[str, Any]) -> Any:
    try:
        return pack_named(found, shared_globals=space)
    except (Exception, SystemExit):  # __reduce__ may be anybody's
        # one that cannot travel must not keep the others here
        kept = {}
        for name, thing in found.items():
            try:
                pack_named({name: thing}, shared_globals=space)
            except (Exception, SystemExit):
                continue
            kept[name] = thing
        return pack_named(kept, shared_globals=space)


def take_over(script: str, space: dict[str, Any]) -> None:
    """Take what `_write` has written into the variables of a spawned process's main module.

    Raises
    ------
    FileNotFoundError
        If the file has gone with the rank.
    """
    with open(f"{script}.objects", "rb") as file:
        data = bytearray(file.read())
    space.update(unpack_named(data, shared_globals=space))
