"""Run a notebook cell on several real processes and get results and failures back as objects.

Each exported name is imported on its first use: a rank imports ``nblaunch.rank`` only, and does not pay for the rest.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nblaunch.capture.errors import CaptureError
    from nblaunch.engines.base import Engine
    from nblaunch.launching.session import launch
    from nblaunch.launching.source import Notebook
    from nblaunch.magic.multiproc import load_ipython_extension, unload_ipython_extension
    from nblaunch.runs.attempt import Attempt
    from nblaunch.runs.failures import RankFailure, RanksFailed, RankTimeout
    from nblaunch.runs.outputs import Output
    from nblaunch.runs.run import Run
    from nblaunch.stacks.folding import Stacks

__version__ = "0.1.0"

__all__ = [
    "Attempt",
    "CaptureError",
    "Engine",
    "Notebook",
    "Output",
    "RankFailure",
    "RankTimeout",
    "RanksFailed",
    "Run",
    "Stacks",
    "__version__",
    "launch",
    "load_ipython_extension",
    "unload_ipython_extension",
]

if sys.platform != "linux":
    raise ImportError(
        f"nblaunch needs Linux 5.3 or newer and this is {sys.platform}: it relies on pidfd and memfd. "
        "On Windows run Jupyter inside WSL 2; on other systems use a Linux container."
    )

_MODULES = {
    "Attempt": "nblaunch.runs.attempt",
    "CaptureError": "nblaunch.capture.errors",
    "Engine": "nblaunch.engines.base",
    "Notebook": "nblaunch.launching.source",
    "Output": "nblaunch.runs.outputs",
    "RankFailure": "nblaunch.runs.failures",
    "RankTimeout": "nblaunch.runs.failures",
    "RanksFailed": "nblaunch.runs.failures",
    "Run": "nblaunch.runs.run",
    "Stacks": "nblaunch.stacks.folding",
    "launch": "nblaunch.launching.session",
    "load_ipython_extension": "nblaunch.magic.multiproc",
    "unload_ipython_extension": "nblaunch.magic.multiproc",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'nblaunch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
