"""The runs of this process that somebody still holds."""

from __future__ import annotations

import weakref

from nblaunch.runs.run import Run

__all__ = ["known", "remember", "running", "runs_that_ask"]

_KNOWN: list[weakref.ref[Run]] = []


def remember(run: Run) -> None:
    """Take note of a run that is about to start."""
    _KNOWN[:] = [*map(weakref.ref, known()), weakref.ref(run)]


def known() -> list[Run]:
    """Return the runs that somebody still holds, the latest last."""
    return [run for run in (reference() for reference in _KNOWN) if run is not None]


def running() -> list[Run]:
    """Return the runs that still go on, the latest last."""
    return [run for run in known() if run.status == "running"]


def runs_that_ask() -> list[Run]:
    """Return the runs of which a rank waits for an answer, the latest last."""
    return [run for run in running() if run.asking]
