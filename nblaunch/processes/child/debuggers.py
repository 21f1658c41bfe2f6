"""Starting processes past a debugger of this process: JupyterLab's, or that of ``python -m debugpy``.

pydevd, which is in debugpy, replaces the functions that start processes, and has every Python that they start load the
debugger and wait for it. A process that is told by descriptors what it is to become then never begins.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager

__all__ = ["past_debuggers"]


def past_debuggers() -> AbstractContextManager[object]:
    """Return a context in which this thread starts processes that no debugger follows."""
    # pydevd itself has such a context manager
    pydevd = sys.modules.get("_pydev_bundle.pydev_monkey")
    skip: Callable[[], AbstractContextManager[object]] | None = getattr(pydevd, "skip_subprocess_arg_patch", None)
    return contextlib.nullcontext() if skip is None else skip()
