"""Progress bars of tqdm in a rank: text, whichever of tqdm's modules a cell imports them from.

In a rank, `tqdm.tqdm` and `tqdm.auto` draw text anyway: lines on stderr that overwrite each other. `tqdm.notebook`
draws with widgets, which work in the kernel's process only. Its class `tqdm_notebook` derives from that of `tqdm.std`,
so all methods that it overrides are deleted here. The class is not replaced, because others refer to it: objects from
the notebook by its name, and `tqdm.auto` in a fork of the kernel as its base class.
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
    when_imported(_MODULE, _delete_overrides)


def _delete_overrides(module: ModuleType) -> None:
    kind: Any = getattr(module, "tqdm_notebook", None)
    if kind is None or "__init__" not in vars(kind) or vars(kind)["__init__"] is _init:
        return
    for name in [name for name in vars(kind) if not name.startswith("__") or name in ("__iter__", "__init__")]:
        delattr(kind, name)
    kind.__init__ = _init


def _init(self: Any, *args: Any, **options: Any) -> None:
    """Drop the arguments that only `tqdm.notebook` takes: ``display``, and ``ncols`` as a width in CSS."""
    options.pop("display", None)
    if isinstance(options.get("ncols"), str):
        del options["ncols"]
    super(sys.modules[_MODULE].tqdm_notebook, self).__init__(*args, **options)
