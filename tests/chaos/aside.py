"""What another thread of the notebook does to a chaotic run: imported by the kernel.

::

    begin(token, acts) ─► thread: waits for the run ─► run.stacks(), run.stop() … ─► told(token)
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Sequence
from typing import Any

import nblaunch.magic.commands
import nblaunch.runs.registry
from nblaunch.runs.run import Run
from nblaunch.stacks.folding import Stacks
from tests.chaos.inside import NEXT_ATTEMPT

__all__ = ["attend", "begin", "told"]

# Seconds; what takes longer hangs. Stacks may take 5.
_PATIENCE = 20.0
# What waits for the end of an attempt goes on after so many: it may be what has to end it.
_LONGEST_ATTEMPT = 1.0
# Rounds of one that begins anew.
_MOST = 300
_THREADS: dict[str, _Aside] = {}


class _Aside(threading.Thread):
    def __init__(self, token: str, acts: Sequence[tuple[float, str]], again: bool) -> None:
        super().__init__(name="nbchaos-aside", daemon=True)
        self.token = token
        self.acts = acts
        self.again = again
        self.found: list[str] = []
        self.begun_at = time.monotonic()
        # the driver has seen the end of the cell
        self.over = threading.Event()

    def run(self) -> None:
        run = self._await_run()
        for _ in range(_MOST if self.again else 1):
            if run is None or run.status != "running":
                return
            for delay, text in self.acts:
                time.sleep(delay)
                try:
                    self._act(run, text)
                except BaseException:
                    self.found.append(f"{text}: {traceback.format_exc()}")
            time.sleep(0.001)

    def _await_run(self) -> Run | None:
        while not self.over.is_set():
            for run in nblaunch.runs.registry.running():
                # private: which one it is
                ranks: Any = run._ranks
                if ranks is not None and ranks._plan.env.get("NBCHAOS") == self.token:
                    return run
            time.sleep(0.0005)
        return None

    def _act(self, run: Run, text: str) -> None:
        if text == NEXT_ATTEMPT:
            before, deadline = len(run.attempts), time.monotonic() + _LONGEST_ATTEMPT
            while run.status == "running" and len(run.attempts) == before and time.monotonic() < deadline:
                time.sleep(0.0002)
            return
        try:
            value = eval(text, {"run": run, "nblaunch": nblaunch})
        except TimeoutError as error:
            if "the ranks are still being started" not in str(error):
                raise
            return
        if isinstance(value, Stacks):
            assert set(value) <= set(range(run.nprocs)), value
            assert isinstance(str(value), str)


def begin(token: str, acts: Sequence[tuple[float, str]], again: bool) -> None:
    """Do this in a thread as soon as the run is there."""
    _THREADS[token] = _Aside(token, acts, again)
    _THREADS[token].start()


def told(token: str) -> list[str]:
    """Return what has gone wrong in the thread of a run that has ended."""
    thread = _THREADS.pop(token, None)
    if thread is None:
        return []
    thread.over.set()
    thread.join(_PATIENCE)
    if thread.is_alive():
        assert thread.ident is not None
        stack = "".join(traceback.format_stack(sys._current_frames()[thread.ident]))
        return [*thread.found, f"still busy after {_PATIENCE:.0f} s:\n{stack}"]
    return thread.found


def attend(run: Run) -> None:
    """Answer whoever asks in a run in the background, until it has ended."""
    while not run.wait(0.01):
        for rank in list(run.asking):
            try:
                run.debug(rank)
            except ValueError as error:
                # it may have been answered, or have gone, since
                if "does not wait for anybody" not in str(error):
                    raise
