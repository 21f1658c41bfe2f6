"""The files of the ranks of one attempt: what they write to, and what tells how they have failed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from typing import NamedTuple

from nblaunch.logs.folders import refused

__all__ = ["RankFiles", "make_rank_files"]


class RankFiles(NamedTuple):
    """The paths of the files of one rank."""

    stdout: str
    stderr: str
    stacks: str
    error_file: str


def make_rank_files(log_dir: str, run_id: str, attempt: int, ranks: Iterable[int]) -> tuple[str, dict[int, RankFiles]]:
    """Make ``<log_dir>/<run_id>/attempt_<k>/<rank>/`` with two empty logs; return the attempt's folder and the files.

    On several nodes that share a disk, all ranks of a run lie in one folder: each node makes those of its own ranks.

    Raises
    ------
    OSError
        If that is not possible, before anything is started: a disk may have no room for them.
    """
    folder = os.path.join(log_dir, run_id, f"attempt_{attempt}")
    files = {}
    try:
        os.makedirs(log_dir, exist_ok=True)
        # one by one, because nobody else may look into any of them
        for path in (os.path.dirname(folder), folder):
            _make_shared_folder(path)
        for rank in ranks:
            place = os.path.join(folder, str(rank))
            os.mkdir(place, 0o700)
            names = ("stdout.log", "stderr.log", "stacks.txt", "error.json")
            files[rank] = made = RankFiles(*(os.path.join(place, name) for name in names))
            for path in (made.stdout, made.stderr):
                # without a descriptor, which an interrupt would leave open
                os.mknod(path, stat.S_IFREG | 0o600)
    except OSError as error:
        raise refused(error, log_dir) from None
    return folder, files


def _make_shared_folder(path: str) -> None:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        # another node was first
        if not os.path.isdir(path):
            raise
