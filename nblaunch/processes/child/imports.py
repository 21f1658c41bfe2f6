"""Changing modules as soon as a cell imports them, so that no rank imports what it does not use."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["when_imported"]


def when_imported(name: str, change: Callable[[ModuleType], object], purpose: str = "") -> None:
    """Have `change` called with a module, now if it has been imported, otherwise as soon as it has been executed.

    Of two calls for one module and one purpose the later one counts, also in a process that was forked in between.
    """
    finder = next((finder for finder in sys.meta_path if isinstance(finder, _Finder)), None)
    module = sys.modules.get(name)
    if module is not None:
        if finder is not None:
            finder.done(name, purpose)
        change(module)
        return
    if finder is None:
        finder = _Finder()
        sys.meta_path.insert(0, finder)
    finder.changes.setdefault(name, {})[purpose] = change


class _Finder(MetaPathFinder):
    """Finds some modules as the other finders would, and has them changed when they have been executed."""

    def __init__(self) -> None:
        self.changes: dict[str, dict[str, Callable[[ModuleType], object]]] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self.changes:
            return None
        for finder in sys.meta_path:
            # finders of an older kind have no find_spec, and are passed over
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = None if find is None else find(fullname, path, target)
            if spec is not None:
                self._watch(spec)
                return spec
        return None

    def _watch(self, spec: ModuleSpec) -> None:
        # The loader itself is changed and not wrapped, because tracebacks and others use more of its methods. A search
        # makes a new loader each time, so looking for the module without importing it has no effect.
        execute = getattr(spec.loader, "exec_module", None)
        if spec.loader is None or execute is None:
            return

        def execute_and_change(module: ModuleType) -> None:
            execute(module)
            # the loader may load other modules too
            for change in self.done(spec.name) if module.__name__ == spec.name else ():
                change(module)

        spec.loader.exec_module = execute_and_change  # type: ignore[method-assign]

    def done(self, name: str, purpose: str | None = None) -> Iterable[Callable[[ModuleType], object]]:
        """Return and drop the changes of a module, for one purpose or all; remove the finder if it has no more."""
        changes = self.changes.pop(name, {})
        done = changes if purpose is None else {purpose: changes.pop(purpose)} if purpose in changes else {}
        if purpose is not None and changes:
            self.changes[name] = changes
        if not self.changes and self in sys.meta_path:
            sys.meta_path.remove(self)
        return list(done.values())
