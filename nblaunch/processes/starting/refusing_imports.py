"""Ends an import before a package runs that must not be in a process which is forked.

The process has to start over without that import all the same, because what was unwound is half there. But it does so
at once, and not when the package has been imported, with its threads.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from nblaunch.processes.starting.preloads import NEVER

__all__ = ["Refused", "refusing_imports"]


class Refused(BaseException):
    """A package would have run that must not be in a process which is forked.

    No `Exception`: whoever imports a package if it is there would go on as if it were not, and stay so.
    """


class _Refusing(MetaPathFinder):
    """Finds such packages where they are, because others look whether they are there, and loads none."""

    def __init__(self) -> None:
        self.refused: list[str] = []
        self.active = True

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in NEVER:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(self, spec.loader)
        return spec


class _Loader(Loader):
    """Loads nothing as long as its finder is active: who has looked for a package may import it in a rank."""

    def __init__(self, finder: _Refusing, real: Loader) -> None:
        self._finder, self._real = finder, real

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None if self._finder.active else self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if not self._finder.active:
            return self._real.exec_module(module)
        self._finder.refused.append(module.__name__)
        raise Refused(module.__name__)


@contextlib.contextmanager
def refusing_imports() -> Iterator[list[str]]:
    """End imports with `Refused` where they come to a package that must not be forked; give the names of these."""
    refusing = _Refusing()
    sys.meta_path.insert(0, refusing)
    try:
        yield refusing.refused
    finally:
        refusing.active = False
        # a library may have put other ones in their place
        with contextlib.suppress(ValueError):
            sys.meta_path.remove(refusing)
