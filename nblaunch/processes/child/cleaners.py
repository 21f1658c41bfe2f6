"""Processes that clean up after a rank: they remove its semaphores and shared memory when it has ended, however it has.

`multiprocessing` and joblib start a resource tracker for it, and torch, with its strategy ``file_system``, a
``torch_shm_manager``. Each waits until the rank is gone. So it must not be ended together with the rank.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from nblaunch.processes.child.imports import when_imported

if TYPE_CHECKING:
    import psutil

__all__ = ["is_cleaner", "set_apart", "takes_its_time"]

_TRACKER = "resource_tracker import main"
_SHM_MANAGER = "torch_shm_manager"
# Those of Python and of joblib, which each module has one of.
_TRACKERS = (
    "multiprocessing.resource_tracker",
    "joblib.externals.loky.backend.resource_tracker",
    "loky.backend.resource_tracker",
)
# The process of the rank, which is not one that it forks.
_rank = -1
# Whether it had the tracker of the process that it was forked from: then it may hold memory that its own does not know.
_left = False


def is_cleaner(process: psutil.Process) -> bool:
    """Tell whether a process is there to clean up after the one that has started it; False if it is gone."""
    command = _command(process)
    return _is_shm_manager(command) or any(_TRACKER in part for part in command)


def takes_its_time(process: psutil.Process) -> bool:
    """Tell whether it is one that goes on for seconds after its last client is gone: nobody shall wait for that."""
    return _is_shm_manager(_command(process))


def _command(process: psutil.Process) -> list[str]:
    import psutil  # here, because no rank needs it

    with contextlib.suppress(psutil.Error, OSError):
        return process.cmdline()
    return []


def _is_shm_manager(command: Sequence[str]) -> bool:
    # in its source SHUTDOWN_TIMEOUT, 2 s (torch/lib/libshm/manager.cpp)
    return bool(command) and os.path.basename(command[0]) == _SHM_MANAGER


def set_apart() -> None:
    """Have the trackers that this rank starts lead sessions of their own, so that no signal for the rank reaches them.

    Shared memory that the rank finds by its name, such as the notebook's, is not removed when the rank ends.
    """
    global _rank, _left
    _rank = os.getpid()
    left = [_leave(name) for name in _TRACKERS]
    _left = any(left)
    when_imported("multiprocessing.util", _start_trackers_apart, "cleaners")
    when_imported("multiprocessing.shared_memory", _track_own_only, "cleaners")


def _leave(name: str) -> bool:
    """Have the rank start a tracker of its own where it was forked from a process with one, and tell whether it was.

    That one would remove what the rank leaves when the process that it was forked from ends, which may be days later.
    """
    tracker: Any = getattr(sys.modules.get(name), "_resource_tracker", None)
    if tracker is None or tracker._fd is None:
        return False
    with contextlib.suppress(OSError):
        os.close(tracker._fd)
    tracker._fd = tracker._pid = None
    return True


def _is_shared() -> bool:
    process: Any = sys.modules["multiprocessing.process"]
    return bool(process._children)


def _start_trackers_apart(module: ModuleType) -> None:
    spawn: Callable[..., int] = module.spawnv_passfds
    if getattr(spawn, "of_nblaunch", False):
        return  # forked from a process in which it was done

    def spawnv_passfds(path: Any, args: Sequence[Any], passfds: Any) -> int:
        if not any(_TRACKER in part for part in map(str, args)):
            return spawn(path, args, passfds)
        # torch_shm_manager does the same by itself
        tracker = subprocess.Popen(args, executable=path, pass_fds=passfds, start_new_session=True)
        tracker.returncode = 0  # its pipe tells it when to end, and nobody waits for it
        return tracker.pid

    spawnv_passfds.of_nblaunch = True  # type: ignore[attr-defined]
    module.spawnv_passfds = spawnv_passfds  # type: ignore[attr-defined]


def _track_own_only(module: ModuleType) -> None:
    """Have a tracker forget memory that was made by somebody else (python/cpython#82300)."""
    from multiprocessing import resource_tracker

    kind: Any = module.SharedMemory
    begin, unlink = kind.__init__, kind.unlink
    if getattr(begin, "of_nblaunch", False):
        return
    made_here: set[str] = set()
    found_here: set[str] = set()

    def begin_tracked(self: Any, name: str | None = None, create: bool = False, *args: Any, **keywords: Any) -> None:
        begin(self, name, create, *args, **keywords)
        if create:
            made_here.add(self._name)
        # A tracker that the rank shares with the processes that it has started may know this name from them.
        elif os.getpid() == _rank and self._name not in made_here and keywords.get("track", True) and not _is_shared():
            resource_tracker.unregister(self._name, "shared_memory")
            found_here.add(self._name)

    def unlink_tracked(self: Any) -> None:
        of_parent = _left and os.getpid() == _rank and self._name not in made_here
        if self._name in found_here or of_parent:
            found_here.discard(self._name)
            resource_tracker.register(self._name, "shared_memory")
        unlink(self)

    begin_tracked.of_nblaunch = True  # type: ignore[attr-defined]
    kind.__init__, kind.unlink = begin_tracked, unlink_tracked
