"""Where the output of each local rank goes.

The person's wishes (a directory, which streams to redirect, which to show as well, whose to show) come in as
a `LogsSpecs`; the path of every file, rank by rank, goes out as a `LogsDest`. Directories are made here,
files are not.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nblaunch.exports import exported_by
from nblaunch.processes.elastic.std import Std, checked_streams, to_map

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["DefaultLogsSpecs", "LogsDest", "LogsSpecs", "Std", "to_map"]

logger: logging.Logger = logging.getLogger(__name__)

_CONSOLE = ""
"""Instead of a path: the stream is not redirected."""


@exported_by("nblaunch.processes.api")
@dataclass
class LogsDest:
    """The log files of one run, by local rank.

    Parameters
    ----------
    stdouts, stderrs : dict of int to str
        Where each stream goes; ``""`` for the console.
    tee_stdouts, tee_stderrs : dict of int to str
        Those of them that are shown on the console too.
    error_files : dict of int to str
        Where each rank records its failure.
    filtered_stdout, filtered_stderr : str
        Where selected lines of all ranks are collected.
    """

    stdouts: dict[int, str] = field(default_factory=dict)
    stderrs: dict[int, str] = field(default_factory=dict)
    tee_stdouts: dict[int, str] = field(default_factory=dict)
    tee_stderrs: dict[int, str] = field(default_factory=dict)
    error_files: dict[int, str] = field(default_factory=dict)
    filtered_stdout: str = ""
    filtered_stderr: str = ""


@exported_by("nblaunch.processes.api")
class LogsSpecs(ABC):
    """What is wished of the logs, before it is known how many ranks there are.

    Parameters
    ----------
    log_dir : str, optional
        Directory that all logs go below.
    redirects : Std or mapping of int to Std, optional
        Streams that go to files: of all ranks, or rank by rank.
    tee : Std or mapping of int to Std, optional
        Streams that go to files and are shown on the console too.
    local_ranks_filter : collection of int, optional
        The ranks that are shown on the console; without it, or if it is empty, all.

    Raises
    ------
    TypeError, ValueError
        If `redirects` or `tee` does not say which streams are meant.
    """

    def __init__(
        self,
        log_dir: str | None = None,
        redirects: Std | Mapping[int, Std] = Std.NONE,
        tee: Std | Mapping[int, Std] = Std.NONE,
        local_ranks_filter: Collection[int] | None = None,
    ) -> None:
        self._root_log_dir = log_dir
        self._redirects = checked_streams("redirects", redirects)
        self._tee = checked_streams("tee", tee)
        self._local_ranks_filter = local_ranks_filter

    @abstractmethod
    def reify(self, envs: dict[int, dict[str, str]]) -> LogsDest:
        """Choose the files for the ranks that `envs` describes.

        Parameters
        ----------
        envs : dict of int to dict of str to str
            Environment variables of each local rank. ``TORCHELASTIC_ERROR_FILE`` is set in them.

        Returns
        -------
        LogsDest
        """

    @property
    @abstractmethod
    def root_log_dir(self) -> str:
        """Directory that all logs go below."""


@exported_by("nblaunch.processes.api")
class DefaultLogsSpecs(LogsSpecs):
    """A directory for each run, in it one for each attempt, in it one for each local rank.

    Parameters
    ----------
    log_dir : str, optional
        Directory that all logs go below; made if it is missing. By default a fresh temporary one, which only
        this user can read. ``os.devnull`` keeps no logs: nothing is redirected, and failures leave no error
        file.
    redirects, tee, local_ranks_filter
        As for `LogsSpecs`. What a rank outside `local_ranks_filter` does not redirect is thrown away.

    Raises
    ------
    NotADirectoryError
        If `log_dir` is a file.
    TypeError, ValueError
        If `redirects` or `tee` does not say which streams are meant.
    """

    def __init__(
        self,
        log_dir: str | None = None,
        redirects: Std | Mapping[int, Std] = Std.NONE,
        tee: Std | Mapping[int, Std] = Std.NONE,
        local_ranks_filter: Collection[int] | None = None,
    ) -> None:
        super().__init__(log_dir, redirects, tee, local_ranks_filter)
        self._run_log_dir: str | None = None
        if not log_dir:
            self._root_log_dir = tempfile.mkdtemp(prefix="nblaunch_")
        elif log_dir != os.devnull:
            if os.path.exists(log_dir) and not Path(log_dir).is_dir():
                raise NotADirectoryError(
                    f"log_dir: {log_dir} is a file; give a directory, which is made if it is missing, "
                    f"or {os.devnull} for no logs"
                )
            os.makedirs(log_dir, exist_ok=True)

    @property
    def root_log_dir(self) -> str:
        """Directory that all logs go below."""
        return str(self._root_log_dir)

    def reify(self, envs: dict[int, dict[str, str]]) -> LogsDest:
        """Make the directories of one attempt and choose the files in them.

        The files are ``<log_dir>/<run_id>_<random>/attempt_<k>/<rank>/stdout.log``, ``stderr.log`` and
        ``error.json`` beside it, and ``filtered_stdout.log`` and ``filtered_stderr.log`` in the attempt's
        directory, where the run id is ``TORCHELASTIC_RUN_ID`` and *k* is ``TORCHELASTIC_RESTART_COUNT`` of
        rank 0. The logs of an earlier attempt with the same number are removed. The ranks of a cell write ``.order``
        beside their logs, see ``rank/write_order.py``.

        Parameters
        ----------
        envs : dict of int to dict of str to str
            Environment variables of each local rank. ``TORCHELASTIC_ERROR_FILE`` is set in them.

        Returns
        -------
        LogsDest

        Raises
        ------
        RuntimeError
            If `envs` leaves out a rank.
        """
        _validate_full_rank(envs, len(envs), "envs")
        if not envs:
            logger.warning("log files were asked for no ranks at all: envs is empty")
        if self._root_log_dir == os.devnull:
            return _no_logs(envs)
        attempt_dir = self._make_attempt_dir(envs.get(0, {}))
        redirects, tees = to_map(self._redirects, len(envs)), to_map(self._tee, len(envs))
        dest = LogsDest(
            filtered_stdout=os.path.join(attempt_dir, "filtered_stdout.log"),
            filtered_stderr=os.path.join(attempt_dir, "filtered_stderr.log"),
        )
        streams = [
            (Std.OUT, "stdout.log", dest.stdouts, dest.tee_stdouts),
            (Std.ERR, "stderr.log", dest.stderrs, dest.tee_stderrs),
        ]
        for rank, env in sorted(envs.items()):
            rank_dir = os.path.join(attempt_dir, str(rank))
            os.mkdir(rank_dir, 0o700)
            shown = not self._local_ranks_filter or rank in self._local_ranks_filter
            for std, name, paths, tee_paths in streams:
                # A tee is a redirect whose file is shown while it grows.
                if (redirects[rank] | tees[rank]) & std:
                    paths[rank] = os.path.join(rank_dir, name)
                    if shown and tees[rank] & std:
                        tee_paths[rank] = paths[rank]
                else:
                    paths[rank] = _CONSOLE if shown else os.devnull
            dest.error_files[rank] = env["TORCHELASTIC_ERROR_FILE"] = os.path.join(rank_dir, "error.json")
        return dest

    def _make_attempt_dir(self, env: Mapping[str, str]) -> str:
        fresh = self._run_log_dir is None
        if self._run_log_dir is None:
            self._run_log_dir = self._make_log_dir(self._root_log_dir, env.get("TORCHELASTIC_RUN_ID", "run"))
        attempt = env.get("TORCHELASTIC_RESTART_COUNT", "0")
        path = os.path.join(self._run_log_dir, f"attempt_{attempt}")
        if not fresh:
            shutil.rmtree(path, ignore_errors=True)
        os.makedirs(path, 0o700)
        return path

    def _make_log_dir(self, log_dir: str | None, rdzv_run_id: str) -> str:
        base = log_dir or tempfile.mkdtemp(prefix="nblaunch_")
        os.makedirs(base, exist_ok=True)
        # A run id is any text, and must not lead out of the directory.
        path = tempfile.mkdtemp(prefix=f"{rdzv_run_id.replace(os.sep, '_')}_", dir=base)
        logger.debug("logs go to %s", path)
        return path

    def __repr__(self) -> str:
        return (
            f"DefaultLogsSpecs(root_log_dir={self._root_log_dir}, redirects={self._redirects}, "
            f"tee={self._tee}, local_ranks_filter={self._local_ranks_filter})"
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DefaultLogsSpecs):
            return False
        mine = (self._root_log_dir, self._redirects, self._tee, self._local_ranks_filter)
        return mine == (other._root_log_dir, other._redirects, other._tee, other._local_ranks_filter)


def _no_logs(envs: dict[int, dict[str, str]]) -> LogsDest:
    for env in envs.values():
        env["TORCHELASTIC_ERROR_FILE"] = ""
    nowhere = dict.fromkeys(envs, os.devnull)
    return LogsDest(
        stdouts=dict.fromkeys(envs, _CONSOLE),
        stderrs=dict.fromkeys(envs, _CONSOLE),
        tee_stdouts=nowhere,
        tee_stderrs=dict(nowhere),
        error_files=dict(nowhere),
        filtered_stdout=os.devnull,
        filtered_stderr=os.devnull,
    )


@exported_by("nblaunch.processes.api")
def _validate_full_rank(d: Mapping[int, Any], nprocs: int, what: str) -> None:
    """Raise `RuntimeError` unless `d` has exactly the local ranks ``0 … nprocs-1``."""
    actual, expected = set(d), set(range(nprocs))
    if actual == expected:
        return
    differences = [
        f"{name}: {', '.join(map(repr, sorted(ranks, key=repr)))}"
        for name, ranks in (("missing", expected - actual), ("superfluous", actual - expected))
        if ranks
    ]
    raise RuntimeError(
        f"{what}, local rank mapping mismatch, expected: {expected}, actual: {actual}; {'; '.join(differences)}"
    )
