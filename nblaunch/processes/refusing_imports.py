"""Ends an import before a package runs that must not be in a process which is forked: what was imported can stay."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from nblaunch.processes.preloads import NEVER

__all__ = ["Refused", "refusing_imports"]


class Refused(BaseException):
    """A package would have run that must not be in a process which is forked.

    No `Exception`: whoever imports a package if it is there would go on as if it were not, and stay so.
    """

    def __init__(self, package: str) -> None:
        super().__init__(package)
        self.package = package


class _Refusing(MetaPathFinder, Loader):
    """Finds such packages where they are, because others look whether they are there, and loads none."""

    def __init__(self) -> None:
        self.refused: list[str] = []

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in NEVER:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None:
            spec.loader = self
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        """Have a plain module made."""

    def exec_module(self, module: ModuleType) -> None:
        self.refused.append(module.__name__)
        raise Refused(module.__name__)


@contextlib.contextmanager
def refusing_imports() -> Iterator[list[str]]:
    """End imports with `Refused` where they come to a package that must not be forked; give the names of these."""
    refusing = _Refusing()
    sys.meta_path.insert(0, refusing)
    try:
        yield refusing.refused
    finally:
        # a library may have put other ones in their place
        with contextlib.suppress(ValueError):
            sys.meta_path.remove(refusing)
