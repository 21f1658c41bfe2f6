"""A rank of `start_processes` as `multiprocessing` knows its children: by a name, a parent, a key and a start method.

A program that asks `multiprocessing.parent_process()`, starts processes of its own, or talks with a manager of its
parent, finds in a rank what it would find in a child that `multiprocessing` itself had started.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
from collections.abc import Iterator
from multiprocessing import context as _context
from multiprocessing import process as _process
from multiprocessing.process import BaseProcess
from typing import Any

__all__ = ["be_child", "child_process", "may_not_start_processes"]

# The zygote forks ranks from a clean process, as a forkserver does.
_CONTEXTS = {"zygote": "forkserver"}


def child_process(start_method: str) -> BaseProcess:
    """Return the description of a child, in the process that launches; nothing is started."""
    described: BaseProcess = multiprocessing.get_context(_CONTEXTS.get(start_method, start_method)).Process()  # type: ignore[attr-defined]
    return described


def be_child(described: Any, sentinel: int) -> None:
    """Make this process what `child_process` has described.

    Parameters
    ----------
    described : BaseProcess
        The description.
    sentinel : int
        Descriptor that becomes readable when the parent ends.
    """
    # the steps of BaseProcess._bootstrap
    module: Any = _process
    if described._start_method is not None:
        _context._force_start_method(described._start_method)
    module._process_counter = itertools.count(1)
    module._children = set()
    module._current_process = described
    module._parent_process = module._ParentProcess(described._parent_name, described._parent_pid, sentinel)


@contextlib.contextmanager
def may_not_start_processes() -> Iterator[None]:
    """Have `multiprocessing` refuse to start processes, as while the main module is imported: it would have no end."""
    current: Any = _process.current_process()
    current._inheriting = True
    try:
        yield
    finally:
        del current._inheriting
