"""Progress bars of tqdm in a rank: as text, whichever of tqdm's modules a cell takes them from.

`tqdm.tqdm` and `tqdm.auto` are text in a rank by themselves: lines on stderr that overwrite each other. `tqdm.notebook`
draws with widgets, which live in the kernel's process and do nothing in any other. So its class loses everything that
it does in another way than the class of `tqdm.std` that it derives from. The class itself stays: a cell may have been
sent it from the notebook by its name, and in a fork of the kernel that of `tqdm.auto` derives from it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

__all__ = ["use_text_bars"]

_MODULE = "tqdm.notebook"


def use_text_bars() -> None:
    """Have `tqdm.notebook` draw text, now if it has been imported, otherwise as soon as it is."""
    module = sys.modules.get(_MODULE)
    if module is not None:
        _make_textual(module)
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _make_textual(module: ModuleType) -> None:
    kind: Any = getattr(module, "tqdm_notebook", None)
    if kind is None or "__init__" not in vars(kind) or vars(kind)["__init__"] is _begin:
        return
    for name in [name for name in vars(kind) if not name.startswith("__") or name in ("__iter__", "__init__")]:
        delattr(kind, name)
    kind.__init__ = _begin


def _begin(self: Any, *args: Any, **options: Any) -> None:
    """Take what `tqdm.notebook` takes and the text bars do not: whether to display it, and widths of web pages."""
    options.pop("display", None)
    if isinstance(options.get("ncols"), str):
        del options["ncols"]
    super(sys.modules[_MODULE].tqdm_notebook, self).__init__(*args, **options)


class _Finder(MetaPathFinder):
    """Finds `tqdm.notebook` where it is, and changes it when it has been loaded."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _MODULE:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _TextualLoader(spec.loader)
        return spec


class _TextualLoader(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _make_textual(module)

    def __getattr__(self, name: str) -> Any:
        # get_source and the like, which tracebacks ask for
        return getattr(self._loader, name)
