"""Files of modules that this process has imported, but that a rank's import would not find, or find elsewhere.

That happens after ``os.chdir()`` or changes of ``sys.path``: the notebook keeps what it has imported, and its ranks
import it again.
"""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from nblaunch.processes.starting.preloads import is_own

__all__ = ["modules_found_elsewhere"]


def modules_found_elsewhere() -> dict[str, str]:
    """Return the places of top-level modules that an import would not find there any more.

    Returns
    -------
    dict of str to str
        By module: its file, or the folder of a package without ``__init__.py``.
    """
    try:
        here = os.getcwd()
    except FileNotFoundError:
        here = ""
    entries: list[object] = list(sys.path)
    path = tuple(entry for entry in entries if isinstance(entry, str))
    state = len(sys.modules), path, here, tuple(map(id, sys.meta_path))
    outside, own = _candidates(*state)
    if any(_imported_from(name) != place for name, place in outside.items()):
        # a module was imported again, from another place
        _candidates.cache_clear()
        outside, own = _candidates(*state)
    found = dict(outside)
    for name in own:
        place = _imported_from(name)
        if place and _place(_spec(name)) != place:
            found[name] = place
    return found


@functools.lru_cache(maxsize=4)
def _candidates(
    _count: int, path: tuple[str, ...], here: str, _finders: tuple[int, ...]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the places of modules outside of `path` that an import would not find, and the names of the user's own.

    Every launch calls this, and the search takes a millisecond. So the result is cached while the number of modules and
    the finders are the same. The user's own modules are searched for at each launch, because a file that was written
    since may be found first.
    """
    # if the working directory was removed, nothing is found below it
    folders = {os.path.normpath(os.path.join(here, entry)) for entry in path if here or entry.startswith(os.sep)}
    outside: dict[str, str] = {}
    own = []
    for name, module in list(sys.modules.items()):
        if "." in name or name in ("__main__", "__mp_main__", "nblaunch") or type(module) is not ModuleType:
            continue
        place = _place(module.__spec__)
        if not place:
            continue
        package = place if os.path.isdir(place) else os.path.dirname(place)
        folder = os.path.dirname(package) if _is_package(module.__spec__) else package
        if is_own(name):
            own.append(name)
        elif folder not in folders and _place(_spec(name)) != place:
            outside[name] = place
    return outside, tuple(own)


def _imported_from(name: str) -> str:
    return _place(getattr(sys.modules.get(name), "__spec__", None))


def _is_package(spec: Any) -> bool:
    return spec.submodule_search_locations is not None


def _spec(name: str) -> Any:
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        try:
            spec = None if find is None else find(name, None)
        except Exception:  # a finder of another library may raise anything
            continue
        if spec is not None:
            return spec
    return None


def _place(spec: Any) -> str:
    """Return the file of a module, or the folder of a package without ``__init__.py``; empty if there is neither."""
    if spec is None or not isinstance(getattr(spec, "name", None), str):
        return ""
    if spec.has_location and isinstance(spec.origin, str) and Path(spec.origin).is_absolute():
        return spec.origin
    locations = [] if spec.origin is not None else list(spec.submodule_search_locations or ())
    return str(locations[0]) if len(locations) == 1 else ""
