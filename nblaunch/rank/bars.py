"""Progress bars of tqdm in a rank: as text, whichever of tqdm's modules a cell takes them from.

`tqdm.tqdm` and `tqdm.auto` are text in a rank by themselves: lines on stderr that overwrite each other. `tqdm.notebook`
draws with widgets, which live in the kernel's process and do nothing in any other. So its class loses everything that
it does in another way than the class of `tqdm.std` that it derives from. The class itself stays: a cell may have been
sent it from the notebook by its name, and in a fork of the kernel that of `tqdm.auto` derives from it.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from nblaunch.processes.child.imports import when_imported

__all__ = ["use_text_bars"]

_MODULE = "tqdm.notebook"


def use_text_bars() -> None:
    """Have `tqdm.notebook` draw text, now if it has been imported, otherwise as soon as it is."""
    when_imported(_MODULE, _make_textual)


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
