"""Temporary logs of runs whose notebook was killed: they are kept for a while, to find out why.

A run writes a mark into its temporary folder when it begins, and removes it when it ends. So a folder with a mark whose
process does not exist any more belongs to such a run.
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
    "remove_excess",
    "unmark",
]

_MARK = "unended.json"


@dataclass
class Limits:
    """How many logs are kept, and for how long.

    Attributes
    ----------
    seconds : float
        How long after their last byte was written; 0 keeps none.
    max_bytes : int
        Size of all kept logs together; the oldest are removed first.
    """

    seconds: float = 24 * 3600.0
    max_bytes: int = 1 << 30


LIMITS = Limits()
"""The limits of this process, which it applies when it launches for the first time."""


@dataclass(frozen=True)
class KeptLogs:
    """The logs of a killed run.

    Attributes
    ----------
    folder : str
        Their folder.
    title : str
        The line of the cell, or the name of the function.
    written_at : float
        When its last byte was written, as of `time.time`.
    size : int
        Bytes of all files.
    """

    folder: str
    title: str
    written_at: float
    size: int

    def ranks(self) -> dict[str, str]:
        """Return the folders of the ranks by their numbers, of the last attempt if they were restarted."""
        attempts = sorted(Path(self.folder).glob("*/attempt_*"), key=lambda path: int(path.name.rpartition("_")[2]))
        if not attempts:
            return {}
        ranks = sorted(
            (path for path in attempts[-1].iterdir() if path.name.isdecimal()), key=lambda path: int(path.name)
        )
        return {path.name: str(path) for path in ranks}


def mark(folder: str, title: str) -> None:
    """Write the mark of a run that begins into its folder; on a full disk there is none, and the logs are not kept."""
    with contextlib.suppress(OSError):
        Path(folder, _MARK).write_text(json.dumps({"title": title}), encoding="utf-8")


def unmark(folder: str) -> None:
    """Remove the mark of a run that has ended."""
    with contextlib.suppress(OSError):
        Path(folder, _MARK).unlink()


def is_kept(folder: str) -> bool:
    """Tell whether the folder of a run whose process has ended is to be kept still."""
    found = _found(folder)
    return found is not None and time.time() - found.written_at < LIMITS.seconds


def kept_in(folders: Iterable[str]) -> list[KeptLogs]:
    """Return the logs of killed runs among folders of ended processes, the newest first."""
    found = [kept for kept in map(_found, folders) if kept is not None]
    return sorted(found, key=lambda kept: -kept.written_at)


def remove_excess(folders: Iterable[str]) -> None:
    """Remove the oldest logs that exceed ``LIMITS.max_bytes``."""
    left = LIMITS.max_bytes
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
    """Size and age of a folder, see `measured`."""

    size: int
    """Bytes of all files."""
    taken: int
    """Bytes on the disk, which are fewer if the oldest part of a log was released."""
    written_at: float
    """When the last byte was written, in seconds as of `time.time`."""


def measured(folder: str) -> Measured:
    """Return the size of all files in a folder and when they were written; files that cannot be read are left out."""
    size, taken, written_at = 0, 0, 0.0
    for place, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                status = os.lstat(os.path.join(place, name))
                size, taken = size + status.st_size, taken + status.st_blocks * 512
                written_at = max(written_at, status.st_mtime)
    return Measured(size, taken, written_at)
