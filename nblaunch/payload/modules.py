"""Modules by reference, with the submodules that the sender has imported.

``import xml.etree.ElementTree`` binds ``xml``, but ``import xml`` in the receiver gives a package without ``etree``. So
the receiver imports each submodule that the sender has imported, when it is first used.
"""

from __future__ import annotations

import functools
import importlib
import sys
from types import ModuleType
from typing import Any

__all__ = ["import_home", "module_of_globals", "reduce_module"]


# Names of modules whose import has failed.
_not_importable: set[str] = set()


def import_home(kind: Any) -> None:
    """Import the module that a class or function names as its own, if it is not imported yet.

    For example, ``numpy.recarray`` names ``numpy.rec``, which NumPy imports only when it is used. Until then, the class
    would be sent by value.
    """
    name = kind.__module__
    if not isinstance(name, str) or name in sys.modules or name in _not_importable:
        return
    package, dot, _ = name.partition(".")
    if not dot or package not in sys.modules:
        return
    try:
        importlib.import_module(name)
    except Exception:  # the module of a library may raise any error
        _not_importable.add(name)


def module_of_globals(space: dict[str, Any]) -> ModuleType | None:
    """Return the imported module whose variables these are; None if it is ``__main__`` or there is none."""
    name = space.get("__name__")
    module = sys.modules.get(name) if isinstance(name, str) and name != "__main__" else None
    return module if module is not None and vars(module) is space else None


def reduce_module(module: ModuleType) -> Any:
    """Return how to import a module again, or None for cloudpickle's way."""
    name = module.__name__
    if sys.modules.get(name) is not module or name == "__main__":
        return None
    if hasattr(module, "__path__"):
        children, submodules = _submodules(name, len(sys.modules))
        if submodules:
            # the children are sent apart, because torch has hundreds of submodules, which each rank would have to split
            return _package, (name, children, submodules)
    # cloudpickle does not know modules with a class of their own
    return None if type(module) is ModuleType else (importlib.import_module, (name,))


@functools.lru_cache(maxsize=64)  # each launch calls it, and there are thousands of modules
def _submodules(package: str, _: int) -> tuple[str, str]:
    """Return the imported submodules of a package, joined by spaces: those directly in it, and all.

    The second argument is the number of imported modules: the cached result holds only as long as it stays the same.
    """
    prefix = f"{package}."
    names = [name[len(prefix) :] for name in list(sys.modules) if name.startswith(prefix)]
    return " ".join(name for name in names if "." not in name), " ".join(names)


# The submodules that the sender has imported, by the name of the package.
_imported: dict[str, str] = {}


def _package(name: str, children: str, submodules: str) -> ModuleType:
    module = importlib.import_module(name)
    _imported[name] = submodules
    _watch(module, set(children.split(" ")))
    return module


def _watch(module: ModuleType, children: set[str]) -> None:
    """Have the submodules that a package lacks imported when they are first used."""
    # a package with a class of its own may import them itself
    if type(module) is ModuleType and not children <= vars(module).keys():
        module.__class__ = _Package


class _Package(ModuleType):
    def __getattr__(self, name: str) -> Any:
        # Python has called a `__getattr__` that the package itself defines before this one
        full = f"{self.__name__}.{name}"
        inner = _children(full)
        if inner is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        found = importlib.import_module(full)
        _watch(found, inner)
        return found


def _children(full: str) -> set[str] | None:
    """Return the direct submodules of a module that the sender has imported; None if it has not imported the module."""
    for package, submodules in _imported.items():
        prefix = f"{package}."
        if full.startswith(prefix):
            path = full[len(prefix) :]
            names = submodules.split(" ")
            if path in names:
                return {name[len(path) + 1 :].partition(".")[0] for name in names if name.startswith(f"{path}.")}
    return None
