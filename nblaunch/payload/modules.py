"""Modules by reference, with the submodules that the sender has imported.

``import xml.etree.ElementTree`` binds ``xml``, and importing ``xml`` on the other side gives one without ``etree``.
What was imported here is imported there when it is asked for, so that nobody pays for submodules that are not used.
"""

from __future__ import annotations

import functools
import importlib
import sys
from types import ModuleType
from typing import Any

__all__ = ["import_home", "module_of_globals", "reduce_module"]


# Names of modules that could not be imported, as no file has them.
_homeless: set[str] = set()


def import_home(kind: Any) -> None:
    """Import the module that a class or function says it is from, if a library has not done so yet.

    ``numpy.recarray`` says that it is from ``numpy.rec``, which NumPy imports when it is asked for. Until then the
    class would be taken for one that nobody can import.
    """
    name = kind.__module__
    if not isinstance(name, str) or name in sys.modules or name in _homeless:
        return
    package, dot, _ = name.partition(".")
    if not dot or package not in sys.modules:
        return
    try:
        importlib.import_module(name)
    except Exception:  # a library's code
        _homeless.add(name)


def module_of_globals(space: dict[str, Any]) -> ModuleType | None:
    """Return the imported module whose variables these are; None for those of the main module, and all others."""
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
            # each rank could tell the children from the rest, but would split hundreds of names for it, as for torch
            return _package, (name, children, submodules)
    # cloudpickle does not know modules with a class of their own
    return None if type(module) is ModuleType else (importlib.import_module, (name,))


@functools.lru_cache(maxsize=64)  # each launch asks, and there are thousands of modules
def _submodules(package: str, _: int) -> tuple[str, str]:
    """Return the names of the submodules of a package that have been imported, joined by spaces: its own, and all."""
    prefix = f"{package}."
    names = [name[len(prefix) :] for name in list(sys.modules) if name.startswith(prefix)]
    return " ".join(name for name in names if "." not in name), " ".join(names)


# What the sender has imported of each package, by its name.
_imported: dict[str, str] = {}


def _package(name: str, children: str, submodules: str) -> ModuleType:
    module = importlib.import_module(name)
    _imported[name] = submodules
    _watch(module, set(children.split(" ")))
    return module


def _watch(module: ModuleType, children: set[str]) -> None:
    """Have the submodules imported that a package lacks, when somebody asks for them."""
    # a package with a class of its own knows better
    if type(module) is ModuleType and not children <= vars(module).keys():
        module.__class__ = _Package


class _Package(ModuleType):
    def __getattr__(self, name: str) -> Any:
        # the package's own `__getattr__`, if it has one, was asked before
        full = f"{self.__name__}.{name}"
        inner = _children(full)
        if inner is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        found = importlib.import_module(full)
        _watch(found, inner)
        return found


def _children(full: str) -> set[str] | None:
    """Return which submodules of this module the sender has imported; None if not even this one."""
    for package, submodules in _imported.items():
        prefix = f"{package}."
        if full.startswith(prefix):
            path = full[len(prefix) :]
            names = submodules.split(" ")
            if path in names:
                return {name[len(path) + 1 :].partition(".")[0] for name in names if name.startswith(f"{path}.")}
    return None
