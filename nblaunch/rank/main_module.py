"""``__main__`` of a rank: classes and functions from the notebook are found in it, also by processes that it spawns.

`pickle` refers to a class of ``__main__`` by its name, and so do `torch.save`, `joblib.dump`, collectives for objects
and pools. A class that has arrived as part of some object is found by its name too, although it is no variable in the
rank. A variable of the same name comes first.
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
    """A main module that also has the attributes in `_by_name`, after its own variables."""

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
        Objects that have arrived from the notebook.
    folder : str
        Folder for the files that spawned processes read; empty if there is none.
    """
    main = sys.modules["__main__"]
    if type(main) is not _Main:
        if not issubclass(_Main, type(main)):  # IPython's shell may have put a module of its own class there
            vars(main).update({name: thing for name, thing in names.items() if name not in vars(main)})
            return
        main.__class__ = _Main
    _by_name.clear()
    _by_name.update(names)
    if folder:
        when_imported("multiprocessing.spawn", lambda module: _prepare_spawned(module, folder))


def _prepare_spawned(module: ModuleType, folder: str) -> None:
    """Have processes that `multiprocessing` spawns import a main module with the same objects."""
    prepare: Callable[[str], dict[str, Any]] = module.get_preparation_data

    def get_preparation_data(name: str) -> dict[str, Any]:
        data = prepare(name)
        # a rank has no main module that a spawned process could import
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
        file.write(bytes(_pack(found, space)))
    with open(script, "w", encoding="utf-8") as file:
        file.write(_STUB)
    return script


def _pack(found: dict[str, Any], space: dict[str, Any]) -> Any:
    try:
        return pack_named(found, shared_globals=space)
    except (Exception, SystemExit):  # a user's __reduce__ may raise anything
        # an object that cannot be pickled is left out, and the others are written
        kept = {}
        for name, thing in found.items():
            try:
                pack_named({name: thing}, shared_globals=space)
            except (Exception, SystemExit):
                continue
            kept[name] = thing
        return pack_named(kept, shared_globals=space)


def take_over(script: str, space: dict[str, Any]) -> None:
    """Read the objects that `_write` has written; the main module of a spawned process calls this.

    Raises
    ------
    FileNotFoundError
        If the rank has ended and its folder was removed.
    """
    with open(f"{script}.objects", "rb") as file:
        data = bytearray(file.read())
    space.update(unpack_named(data, shared_globals=space))
