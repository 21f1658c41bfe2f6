"""The plain panel: it prints what the ranks write, while they write it, each line with its rank in front.

It reads the logs and prints in a thread of its own, so that a slow page or terminal slows neither the ranks nor the
thread that watches them. What it prints is bounded, because Jupyter's server drops *all* output of a kernel that
streams more than about 1 MB/s. The logs keep everything.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from nblaunch.cell_threads import cell_thread
from nblaunch.events import (
    Answered,
    Asked,
    Captured,
    Ended,
    Event,
    Exited,
    Finished,
    GettingReady,
    Launched,
    QuestionWithdrawn,
    Raised,
    Restarting,
    SessionEnded,
    StacksTaken,
    Stalled,
    Straggling,
)
from nblaunch.flag import Flag
from nblaunch.logs.following import LogFollower
from nblaunch.logs.reader import STDERR, STDOUT, FindLogs, RankLog
from nblaunch.panel.bars_in_place import BarsInPlace
from nblaunch.panel.consumer import Consumer
from nblaunch.panel.log_lines import LogLines
from nblaunch.panel.notices import print_notices, print_size_notice, write
from nblaunch.panel.state import RunState, stalls_for, straggles
from nblaunch.stacks.folding import Stacks
from nblaunch.wording import WORTH_TELLING, listed, name_ranks

__all__ = ["TextPanel"]

# Seconds between two looks at the logs.
_PERIOD = 0.05
# Bytes that are printed in one look, and in all, over all ranks and streams.
_MAX_BYTES_PER_LOOK = 32_000
_MAX_BYTES = 1_000_000
_MIN_BYTES_PER_STREAM = 4_000


@dataclass(frozen=True)
class _Lines:
    """Lines to be printed that are not of a log."""

    lines: list[str]


class TextPanel(Consumer):
    """Prints what ranks write.

    `note` takes the events. `follow` prints from then on, and `close` returns when everything has been printed.

    Parameters
    ----------
    logs : callable
        Returns the reader of the logs of an attempt.
    size_notice : float
        Bytes sent to each rank from which on a notice says what can be done about them; 0 is never.
    quiet : bool
        Print only of failures: that all ranks start again and, if nobody waits for the run, how it has failed.
    """

    def __init__(self, logs: FindLogs, size_notice: float = 0, quiet: bool = False) -> None:
        self._logs = logs
        self._size_notice = size_notice
        self._quiet = quiet
        self._state = RunState("")
        self._sources: list[LogLines] = []
        # for the thread that prints: remarks, and the logs of the next attempt
        self._arriving: deque[str | _Lines | list[LogLines]] = deque()
        self._failure: Callable[[], str] | None = None
        self._bars: BarsInPlace | None = None
        # Open questions, by rank and number. Bars are not drawn then: a question stands where they would.
        self._asking: set[tuple[int, int]] = set()
        self._begun = False
        self._over = Flag()
        # set when something has arrived or the run is over; a quiet panel waits for it, because it follows no logs
        self._woken = Flag()
        self._thread: threading.Thread | None = None
        # guards that no thread starts while `close` prints: a run may end before `follow` is called
        self._starting = threading.Lock()

    def detach(self, failure: Callable[[], str]) -> None:
        """Print, when the run has ended, what it has failed of: nobody waits for it, so no exception tells.

        Parameters
        ----------
        failure : callable
            Returns what the run has failed of as text; empty if it has not failed.
        """
        self._failure = failure

    def note(self, event: Event) -> None:
        """Take an event."""
        if isinstance(event, SessionEnded):
            return
        if isinstance(event, (Asked, Answered, QuestionWithdrawn)):
            # handled first, because answers come in any thread
            (self._asking.add if isinstance(event, Asked) else self._asking.discard)((event.rank, event.number))
            return
        if isinstance(event, (Exited, Finished)) or (isinstance(event, Raised) and not event.held):
            # such a rank waits for no answer any more
            self._asking.difference_update([question for question in list(self._asking) if question[0] == event.rank])
        self._state.note(event)
        if isinstance(event, Launched):
            self._begin(event)
        elif isinstance(event, Restarting):
            self._asking.clear()
            # the rest of the logs comes first, then why the ranks start again
            self._arrive([])
            self._arrive(self._state.restarted)
        elif isinstance(event, Ended):
            self._over.set()
            self._woken.set()
            if self._failure is not None:
                # all is printed before the run counts as ended: a program may exit then
                self.close()
        elif not self._quiet:
            self._remark(event)

    def _remark(self, event: Event) -> None:
        if isinstance(event, Captured):
            self._tell_sizes(event.sizes)
            with contextlib.suppress(ValueError, OSError):
                print_notices(event.notices)
        elif isinstance(event, GettingReady):
            self._arrive(": ".join(filter(None, ["getting ready", self._state.importing])))
            # the launcher calls `follow` only when the ranks have started
            self.follow()
        elif isinstance(event, Straggling):
            self._arrive(f"{name_ranks(event.ranks)} {straggles(event.seconds)}")
        elif isinstance(event, Stalled):
            if event.ranks:
                has = stalls_for(event.seconds)
                one = len(event.ranks) == 1
                self._arrive(f"{name_ranks(event.ranks)} {has if one else has.replace('has', 'have', 1)}")
        elif isinstance(event, StacksTaken) and event.reason == "stall":
            self._arrive("\n".join(Stacks(event.stacks).lines()))

    def say(self, line: str) -> bool:
        """Print a line between those of the ranks, and tell whether that is possible now."""
        if self._thread is None or self._over.is_set():
            return False
        self._arrive(line)
        return True

    def print_lines(self, lines: list[str]) -> None:
        """Have lines printed below what the ranks have written until now; returns at once."""
        self._arrive(_Lines([f"{line}\n" for line in lines]))

    def hold(self) -> None:
        """Leave the terminal to the shell: the program is about to be stopped by Ctrl-Z."""
        if self._bars is not None:
            self._bars.hold()

    def go_on(self) -> None:
        """Take the terminal again: the program was set going."""
        if self._bars is not None:
            self._bars.go_on()

    def _arrive(self, item: str | _Lines | list[LogLines]) -> None:
        self._arriving.append(item)
        self._woken.set()

    def close(self) -> None:
        """Print the rest and end the thread."""
        with self._starting:
            self._over.set()
        self._woken.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        elif self._begun:
            self._show()
        self._begun = False

    def _tell_sizes(self, sizes: dict[str, int]) -> None:
        with contextlib.suppress(ValueError, OSError):  # the stream is closed
            if sum(sizes.values()) >= WORTH_TELLING:
                write(sys.stdout, [f"sent to each rank: {listed(sizes)}\n"])
            print_size_notice(sizes, self._size_notice)

    def _begin(self, launched: Launched) -> None:
        self._begun = True
        if self._quiet:
            return
        if self._failure is None:  # else nobody waits for the run, and bars would be drawn over a prompt
            self._bars = BarsInPlace.here()
        sources = []
        reader = self._logs(launched.attempt)
        width = len(str(launched.nprocs - 1))
        share = max(_MIN_BYTES_PER_STREAM, _MAX_BYTES // (2 * launched.nprocs))
        for rank in range(launched.nprocs):
            for stream in (STDOUT, STDERR):
                follower = LogFollower(RankLog(reader, rank, stream), overwriting=True)
                prefix = f"[{rank:>{width}}] "
                sources.append(LogLines(prefix, follower, stream == STDERR, share, in_place=self._bars is not None))
        self._arrive(sources)

    def follow(self, at_once: bool = False) -> None:
        """Print in a thread of its own, from now on until `close`."""
        with self._starting:
            if self._thread is None and self._begun and not self._over.is_set():
                self._start()

    def _start(self) -> None:
        thread = cell_thread("nblaunch-panel", self._show)
        with contextlib.suppress(RuntimeError):  # no more threads: all is printed by `close`
            thread.start()
            self._thread = thread

    def _show(self) -> None:
        # A step fails if a stream was closed or logs are gone; the run's failure is told all the same, at its end.
        for step in (self._keep_up, self._over.wait, self._take_arrivals, self._finish_logs, self._tell):
            with contextlib.suppress(ValueError, OSError):
                step()
        self._sources = []

    def _keep_up(self) -> None:
        while not self._over.is_set():
            if self._quiet:
                self._woken.wait()
                self._woken.clear()
            else:
                self._over.wait(_PERIOD)
            self._take_arrivals()
            self._look()
            self._draw_bars()

    def _draw_bars(self) -> None:
        if self._bars is None:
            return
        self._bars.draw([] if self._asking else [bar for source in self._sources if (bar := source.bar())])

    def _print(self, stream: TextIO, lines: list[str]) -> None:
        if lines and self._bars is not None:
            # taken away here too, because writes to this stream may not be noticed
            self._bars.take_away()
        write(stream, lines)

    def _tell(self) -> None:
        if self._failure is not None:
            text, self._failure = self._failure(), None
            self._print(sys.stderr, [f"{text}\n"] if text else [])

    def _take_arrivals(self) -> None:
        while self._arriving:
            item = self._arriving.popleft()
            if isinstance(item, list):
                try:
                    self._finish_logs()
                finally:  # its logs may be gone
                    self._sources = item
            elif isinstance(item, _Lines):
                self._look()
                self._print(sys.stdout, item.lines)
            else:
                self._print(sys.stderr, [f"{item}\n"])

    def _finish_logs(self) -> None:
        """Print the rest of the logs of an attempt that has ended."""
        try:
            if self._bars is not None:
                self._bars.close()
            self._print_rest()
            self._write([(source, source.rest()) for source in self._sources])
            self._tell_what_was_left_out()
        finally:
            self._sources = []

    def _look(self) -> None:
        """Print what is new, within bounds."""
        limit = max(1000, _MAX_BYTES_PER_LOOK // max(1, len(self._sources)))
        self._write([(source, source.read(limit)) for source in self._sources])

    def _print_rest(self) -> None:
        """Print what has not been printed, rank by rank, because none of them writes any more."""
        batch: list[tuple[LogLines, list[str]]] = []
        size = 0
        for source in self._sources:
            before = -1
            while source.follower.offset != before:
                before = source.follower.offset
                batch.append((source, source.read(_MAX_BYTES_PER_LOOK)))
                size += source.follower.offset - before
                if size >= _MAX_BYTES_PER_LOOK:
                    # written in batches, because a page takes only so much at once
                    self._write(batch)
                    batch, size = [], 0
        self._write(batch)

    def _write(self, batches: list[tuple[LogLines, list[str]]]) -> None:
        for to_stderr, stream in ((False, sys.stdout), (True, sys.stderr)):
            self._print(
                stream,
                [
                    f"{source.prefix}{line}\n"
                    for source, lines in batches
                    if source.to_stderr == to_stderr
                    for line in lines
                ],
            )

    def _tell_what_was_left_out(self) -> None:
        for source in self._sources:
            stream = sys.stderr if source.to_stderr else sys.stdout
            self._print(stream, [f"{source.prefix}{line}\n" for line in source.left_out()])
