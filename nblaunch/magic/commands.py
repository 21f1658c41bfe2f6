"""The commands ``%multiproc stacks``, ``debug``, ``stop``, ``kill``, ``logs`` and ``clear logs``."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable

from nblaunch.jupyter.input_box import tell
from nblaunch.logs.files import text_of
from nblaunch.logs.folders import kept_logs, remove_folders
from nblaunch.logs.kept import LIMITS
from nblaunch.logs.reader import STDERR, STDOUT, LocalLogs, RankLog
from nblaunch.runs.registry import known, running, runs_that_ask
from nblaunch.wording import count_ranks, in_words

__all__ = [
    "clear_logs",
    "debug",
    "end_runs",
    "logs_in_words",
    "stacks_in_words",
]

# Bytes of the end of a log that ``%multiproc logs NUMBER`` shows.
_SHOWN_BYTES = 4_000


def debug(rank: int) -> None:
    """Let the user answer what a rank asks, or operate its debugger until they leave it.

    Raises
    ------
    ValueError
        If that rank asks nothing.
    RuntimeError
        If nobody can be asked.
    """
    asking = runs_that_ask()
    candidates = [run for run in asking if rank in run.asking]
    if not candidates:
        waiting = "; ".join(f"rank {other}: {what}" for run in asking for other, what in sorted(run.asking.items()))
        others = f"These do: {waiting}" if waiting else "Nor does any other rank"
        raise ValueError(f"rank {rank} of no run waits for anybody. {others}")
    if len(candidates) > 1:
        tell(f"Rank {rank} waits in {len(candidates)} runs: this is the one that was started first.\n")
    candidates[0].debug(rank)


def stacks_in_words(ranks: Iterable[int] | None = None, native: bool = False) -> str:
    """Return the stacks of ranks as text; if no run is going on, those of the last run when its first rank failed.

    Parameters
    ----------
    ranks : iterable of int, optional
        Their numbers; by default all ranks.
    native : bool
        Whether to include the frames of C code, see `Run.stacks`.

    Raises
    ------
    ValueError, TimeoutError, FileNotFoundError
        See `Run.stacks`.
    """
    runs = running()
    chosen = None if ranks is None else list(ranks)
    if runs:
        texts = []
        for run in runs:
            if chosen is not None and len(runs) > 1 and not set(chosen) & set(range(run.nprocs)):
                continue
            head = f"{count_ranks(run.nprocs)}, running for {run.elapsed:.0f} s:\n" if len(runs) > 1 else ""
            asked = chosen if chosen is None or len(runs) == 1 else [rank for rank in chosen if rank < run.nprocs]
            texts.append(f"{head}{run.stacks(asked, native)}")
        return "\n\n".join(texts)
    runs_so_far = known()
    if not runs_so_far:
        return "No run has been started yet."
    last = runs_so_far[-1]
    if not last.stacks_at_failure:
        return "No run is going on, and in the last one no rank was waiting when another one failed."
    root = last.root_cause
    when = f"rank {root.rank} failed" if root is not None and last.status != "timed out" else "it was ended"
    return f"No run is going on. Where ranks of the last one were when {when}:\n{last.stacks(chosen)}"


def end_runs(kill: bool = False) -> str:
    """Stop or kill every run that is going on, wait until their ranks have ended, and return their summaries."""
    runs = running()
    for run in runs:
        (run.kill if kill else run.stop)()
    for run in runs:
        run.wait()
    if not runs:
        return "No run is going on."
    return "\n".join(run.summary() for run in runs)


def logs_in_words(number: int | None = None) -> str:
    """List the logs that are kept of runs whose notebook was killed, or return the ends of the logs of one run.

    Parameters
    ----------
    number : int, optional
        The run's number in the list, which begins with 1, the newest.

    Raises
    ------
    ValueError
        If the list is shorter.
    """
    kept = kept_logs()
    if number is None:
        if not kept:
            return (
                "No logs are kept of runs that did not come to their end. Those of a run that has ended are in its "
                "logs, for example results of --out job in job.logs[0].stdout."
            )
        lines = [
            f"{index:>2}  {one.title}, last written {_when(one.written_at)}, {in_words(one.size)} in {one.folder}"
            for index, one in enumerate(kept, 1)
        ]
        hours = f"{LIMITS.seconds / 3600:g} h"
        head = f"Logs of runs whose notebook was killed, kept for {hours} (%config Multiproc.keep_killed):"
        return "\n".join([head, *lines, "%multiproc logs 1 shows the end of what the ranks of the first one wrote."])
    if not 1 <= number <= len(kept):
        raise ValueError(f"there {'is 1 run' if len(kept) == 1 else f'are {len(kept)} runs'} of which logs are kept")
    chosen = kept[number - 1]
    parts = [f"{chosen.title}, in {chosen.folder}"]
    for rank, folder in chosen.ranks().items():
        stdout, stderr = (os.path.join(folder, f"{name}.log") for name in ("stdout", "stderr"))
        reader = LocalLogs(folder, {0: (stdout, stderr)})
        for name, stream in (("stdout", STDOUT), ("stderr", STDERR)):
            end = text_of(RankLog(reader, 0, stream), _SHOWN_BYTES).rstrip("\n")
            parts += [f"--- rank {rank}, {name}", end] if end else []
    return "\n".join(parts)


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def clear_logs() -> str:
    """Remove the temporary logs of runs that have ended, not those in a ``log_dir``, and say how many."""
    removed, size = remove_folders({run.logs.root for run in running()})
    for one in kept_logs():
        shutil.rmtree(one.folder, ignore_errors=True)
        removed, size = removed + 1, size + one.size
    if not removed:
        return "No run that has ended has logs in the temporary folder. Those in a log_dir are yours to remove."
    return f"Removed the logs of {removed} run{'' if removed == 1 else 's'}, {in_words(size)}."
