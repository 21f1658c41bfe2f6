"""Logs of runs that did not come to their end, because their notebook was killed: kept for a while, and found again.

A run marks its temporary folder when it begins and takes the mark away when it has ended, however that was. A folder
with a mark whose process is gone is what is left of a killed run: all that there is to see why.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "LIMITS",
    "KeptLogs",
    "Limits",
    "Measured",
    "is_kept",
    "kept_in",
    "mark",
    "measured",
    "remove_beyond",
    "unmark",
]

_MARK = "unended.json"


@dataclass
class Limits:
    """How much is kept.

    Attributes
    ----------
    seconds : float
        For how long after the last byte was written; 0 keeps nothing.
    most_bytes : int
        Of all of them together; the oldest go first.
    """

    seconds: float = 24 * 3600.0
    most_bytes: int = 1 << 30


LIMITS = Limits()
"""Of this process, which removes what is beyond them when it launches for the first time."""


@dataclass(frozen=True)
class KeptLogs:
    """What is left of a killed run.

    Attributes
    ----------
    folder : str
        Where it is.
    title : str
        What ran.
    written_at : float
        When its last byte was written, as of `time.time`.
    size : int
        Bytes of all its files.
    """

    folder: str
    title: str
    written_at: float
    size: int

    def ranks(self) -> dict[str, str]:
        """Return the folders of its last attempt's ranks, by their numbers."""
        attempts = sorted(Path(self.folder).glob("*/attempt_*"), key=lambda path: int(path.name.rpartition("_")[2]))
        if not attempts:
            return {}
        ranks = sorted(
            (path for path in attempts[-1].iterdir() if path.name.isdecimal()), key=lambda path: int(path.name)
        )
        return {path.name: str(path) for path in ranks}


def mark(folder: str, title: str) -> None:
    """Take note that a run goes on whose logs are in a folder; on a full disk they will not be kept."""
    with contextlib.suppress(OSError):
        Path(folder, _MARK).write_text(json.dumps({"title": title}), encoding="utf-8")


def unmark(folder: str) -> None:
    """Take note that the run has ended."""
    with contextlib.suppress(OSError):
        Path(folder, _MARK).unlink()


def is_kept(folder: str) -> bool:
    """Tell whether a folder of a process that is gone holds logs that are to be kept for some time still."""
    found = _found(folder)
    return found is not None and time.time() - found.written_at < LIMITS.seconds


def kept_in(folders: Iterable[str]) -> list[KeptLogs]:
    """Return what is left of killed runs in these folders, the newest first."""
    found = [kept for kept in map(_found, folders) if kept is not None]
    return sorted(found, key=lambda kept: -kept.written_at)


def remove_beyond(folders: Iterable[str]) -> None:
    """Remove the oldest ones that are too much."""
    left = LIMITS.most_bytes
    for kept in kept_in(folders):
        left -= kept.size
        if left < 0:
            shutil.rmtree(kept.folder, ignore_errors=True)


def _found(folder: str) -> KeptLogs | None:
    try:
        title = str(json.loads(Path(folder, _MARK).read_text(encoding="utf-8"))["title"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    found = measured(folder)
    return KeptLogs(folder, title, found.written_at, found.size)


class Measured(NamedTuple):
    """What is known of all files in a folder together: see `measured`."""

    size: int
    """Bytes of the files."""
    taken: int
    """Bytes of the disk, which are fewer where the oldest part of a log was released."""
    written_at: float
    """When the last byte was written, as of `time.time`."""


def measured(folder: str) -> Measured:
    """Return how large a folder is with all that is in it, and when it was written to, as far as that can be seen."""
    size, taken, written_at = 0, 0, 0.0
    for place, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                status = os.lstat(os.path.join(place, name))
                size, taken = size + status.st_size, taken + status.st_blocks * 512
                written_at = max(written_at, status.st_mtime)
    return Measured(size, taken, written_at)
