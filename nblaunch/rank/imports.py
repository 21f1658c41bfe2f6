"""Changing modules that a cell may import, as soon as it does, so that no rank imports what it does not use."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

__all__ = ["when_imported"]


def when_imported(name: str, change: Callable[[ModuleType], None]) -> None:
    """Have `change` called with a module, now if it has been imported, otherwise as soon as it has been loaded."""
    module = sys.modules.get(name)
    if module is not None:
        change(module)
        return
    for finder in sys.meta_path:
        if isinstance(finder, _Finder):
            finder.changes[name] = change
            return
    sys.meta_path.insert(0, _Finder(name, change))


class _Finder(MetaPathFinder):
    """Finds some modules where they are, and has them changed when they have been loaded."""

    def __init__(self, name: str, change: Callable[[ModuleType], None]) -> None:
        self.changes = {name: change}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        change = self.changes.get(fullname)
        if change is None:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, change)
        return spec


class _Loader(Loader):
    def __init__(self, loader: Loader, change: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._change = change

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._change(module)

    def __getattr__(self, name: str) -> Any:
        # get_source and the like, which tracebacks ask for
        return getattr(self._loader, name)
