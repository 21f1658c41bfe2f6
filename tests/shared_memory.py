"""What lies in ``/dev/shm``, which is every program's: what of it tests may have left there."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

__all__ = ["PLACE", "left_by_us", "present"]

PLACE = Path("/dev/shm")

# What multiprocessing, joblib and torch call theirs, with the process that made it where they say so, and what would be
# nblaunch's. Semaphores have names only for a moment.
_OURS = re.compile(r"psm_\w+|(?:joblib_memmapping_folder|torch)_(?P<maker>\d+)_.*|.*nblaunch.*")


def present() -> set[str]:
    """Return the names of what lies there and could come from a test."""
    return {name for name in os.listdir(PLACE) if _OURS.fullmatch(name)} if PLACE.is_dir() else set()


def left_by_us(names: Iterable[str]) -> set[str]:
    """Return which of these are still there, and neither made nor used by a process that is no test's.

    Something that nobody uses, and that does not say who made it, is counted as ours.
    """
    left = {name for name in names if _is_own_user(name)}
    if not left:
        return left
    for process in psutil.process_iter():
        if not _is_ours(process):
            left -= {name for name in left if _maker(name) == process.pid}
            left -= set(_used_by(process.pid))
    return left


def _is_own_user(name: str) -> bool:
    try:
        return (PLACE / name).lstat().st_uid == os.geteuid()
    except FileNotFoundError:
        return False  # it has gone


def _maker(name: str) -> int | None:
    match = _OURS.fullmatch(name)
    return int(match["maker"]) if match is not None and match["maker"] else None


def _is_ours(process: psutil.Process) -> bool:
    """Tell whether a process is this one, below it, or was started by it and is not below it any more."""
    try:
        family = {process.pid, *(parent.pid for parent in process.parents())}
        # the place for temporary files is that of these tests only, see conftest.py
        return os.getpid() in family or process.environ().get("TMPDIR") == tempfile.gettempdir()
    except psutil.Error:
        return False  # somebody else's, or gone


def _used_by(pid: int) -> Iterator[str]:
    """Yield the names of what a process has open or mapped."""
    start = f"{PLACE}{os.sep}"
    try:
        found = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
        maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return  # somebody else's, or gone
    found += [line.partition(start)[1] + line.partition(start)[2] for line in maps.splitlines() if start in line]
    for path in found:
        if path.startswith(start):
            yield path.removeprefix(start).partition(os.sep)[0]
