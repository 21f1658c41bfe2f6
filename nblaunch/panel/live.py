"""`LivePanel`: what a person sees under the cell, while it runs and afterwards.

::

    events ─► RunState ─┐                    ┌─► widget (page), at most 20 times a second
    LogReader ─ Arrivals ┴─► panel's thread ─┤
                                             ├─► record: static HTML and text, in the place of the widget at the end
                                             └─► lines of text, if no page answers for some seconds

It is a consumer of events: it owns no process, and neither a slow page nor an absent one slows a rank.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from nblaunch.cell_threads import cell_thread
from nblaunch.events import Captured, Displayed, Ended, Event, GettingReady, Launched
from nblaunch.flag import Flag
from nblaunch.jupyter.comms import (
    answer_on_own_subshell,
    cell_that_runs,
    draws_unheard,
    hear_control_channel,
    keep_busy,
)
from nblaunch.logs.arrivals import Arrivals
from nblaunch.logs.reader import FindLogs
from nblaunch.panel.consumer import Consumer
from nblaunch.panel.notices import print_lines, print_notices, print_size_notice
from nblaunch.panel.outputs import OutputArea, Publish
from nblaunch.panel.places import NOTHING, Bundle
from nblaunch.panel.record import record, still_running
from nblaunch.panel.state import RunState, RunSummary
from nblaunch.panel.text import TextPanel
from nblaunch.panel.viewers import Viewers

if TYPE_CHECKING:
    from nblaunch.panel.page_messages import Channel, FromPage, ToPage
    from nblaunch.panel.pages import Pages
    from nblaunch.panel.widget import PanelWidget

__all__ = ["LivePanel"]

logger: logging.Logger = logging.getLogger(__name__)

# Seconds after the launch until the widget is shown: quick cells stay quick and do not flicker.
_WIDGET_AFTER = 1.0
# Seconds that a page which was sent a widget has for its first message.
_PAGE_ANSWERS_WITHIN = 0.25
# Seconds until lines are printed if no page has sent a message.
_LINES_AFTER = 5.0
# Seconds without any page that shows the panel, until its output counts as cleared: a page may draw it anew.
_CLEARED_AFTER = 0.1
# Seconds between two notes that the run goes on, which stay in the notebook if the kernel dies.
_NOTE_PERIOD = 5.0
# Seconds between two looks at the logs, by the number of parts of the log of all ranks, whose memory is bounded so.
_LOOK_PERIODS = ((100_000, 0.05), (400_000, 0.1), (2_000_000, 0.25))
_LONGEST_LOOK_PERIOD = 2.0


class LivePanel(Consumer):
    """Shows a run under the cell that runs now.

    `note` takes the events. `follow` shows the widget if the run takes long, and `close` returns when the record stands
    in its place.

    Parameters
    ----------
    title : str
        What runs.
    publish : callable
        See `nblaunch.panel.outputs.Publish`.
    summary : callable
        Returns what the record says of the run, once it has ended.
    stop, kill : callable
        End the ranks; the panel's button calls the one at the first click and the other at the second.
    stacks : callable
        Returns where every rank is now, as text.
    logs : callable
        Returns the reader of the logs of an attempt.
    show_ranks : collection of int, optional
        Ranks whose displays are shown; by default all.
    size_notice : float
        Bytes sent to each rank from which on a notice says what can be done about them; 0 is never.
    quiet : bool
        Show nothing but the record of a run that has failed.
    alone : bool
        Whether nobody sits at the notebook, as when it is executed by a program: there will be no page.
    """

    leaves_record = True
    shows_usage = True

    def __init__(
        self,
        title: str,
        publish: Publish,
        summary: Callable[[], RunSummary],
        stop: Callable[[], None],
        kill: Callable[[], None],
        stacks: Callable[[], str],
        logs: FindLogs,
        show_ranks: Collection[int] | None = None,
        size_notice: float = 0,
        quiet: bool = False,
        alone: bool = False,
    ) -> None:
        self._publish = publish
        self._alone = alone
        self._size_notice = size_notice
        self._quiet = quiet
        self._summary = summary
        self._orders = {"stop": stop, "kill": kill}
        self._stacks = stacks
        self._logs = logs
        self._state = RunState(title)
        # held, because outputs stand below the panel, or below the record if no page ever shows the panel
        self._outputs = OutputArea(publish, show_ranks=show_ranks, held=True)
        # of all attempts
        self._launches: list[Launched] = []
        self._lines: TextPanel | None = None
        # set when a page has sent a message
        self._met = Flag()
        self._opened_at = 0.0
        self._arrivals: Arrivals | None = None
        # guards the state, which one thread changes and another one shows
        self._lock = threading.Lock()
        # guards the arrivals, which a restart adds logs to
        self._looking = threading.Lock()
        self._over = Flag()
        self._thread: threading.Thread | None = None
        self._token = uuid.uuid4().hex
        # messages of pages for the panel's thread
        self._heard: queue.SimpleQueue[tuple[FromPage, Channel]] = queue.SimpleQueue()
        self._viewers = Viewers()
        # whether the outputs were published anew since the last page has left
        self._started_anew = False
        self._still_busy = keep_busy()
        self._cell = cell_that_runs()
        self._widget: PanelWidget | None = None
        self._listener: object = None
        self._noted_at: float | None = None
        self._is_open = False
        self._record = ("", "")
        self._finished = False
        self._finishing = threading.Lock()

    def note(self, event: Event) -> None:
        """Take an event."""
        if isinstance(event, Launched):
            reader = self._logs(event.attempt)
            with self._looking:
                if self._arrivals is None:
                    self._arrivals = Arrivals(reader)
                else:
                    self._arrivals.go_on(reader)
        with self._lock:
            self._state.note(event)
            if isinstance(event, Launched):
                self._launches.append(event)
            if self._lines is not None:
                self._lines.note(event)
        if isinstance(event, Captured):
            with contextlib.suppress(ValueError, OSError):  # the stream is closed
                print_size_notice(event.sizes, self._size_notice)
                print_notices(event.notices)
        elif isinstance(event, GettingReady):
            # the launcher calls `follow` only when the ranks have started
            self.follow(not self._quiet)
        elif isinstance(event, Displayed) and not self._quiet:
            self._outputs.note(event)
        elif isinstance(event, Ended):
            self._over.set()

    def detach(self, failure: Callable[[], str]) -> None:
        """Show how a rank that asks can be answered: nobody waits for the run, so there will be no input box."""
        self._state.detached = True

    def follow(self, at_once: bool = False) -> None:
        """Show the widget from a thread, unless the run ends within a second.

        Parameters
        ----------
        at_once : bool
            Show it without waiting that long, because the cell does not wait for the run.
        """
        if self._thread is not None or self._arrivals is None or (self._quiet and not at_once):
            return
        self._begin(self._show, at_once)

    def close(self) -> None:
        """Put the record in the place of the widget; after an interrupt, this is to be called again."""
        self._over.set()
        if self._thread is None:
            # an interrupt comes in the main thread, and cannot break the record off in another one
            self._begin(self._finish)
        if self._thread is not None:
            with contextlib.suppress(RuntimeError):  # an interrupt has come before the thread had started
                self._thread.join()
        self._finish()

    def _begin(self, work: Callable[..., None], *args: object) -> None:
        # set before the start, because an interrupt in between must not lead to a second thread
        self._thread = thread = cell_thread("nblaunch-panel", work, *args)
        try:
            thread.start()
        except RuntimeError:  # the system gives no more threads: only the record will be shown
            self._thread = None

    def _show(self, at_once: bool) -> None:
        if self._arrivals is None:
            return  # the record is there already
        pages = None
        try:
            # the first import takes long; the ranks start meanwhile
            from nblaunch.panel.pages import Pages
            from nblaunch.panel.widget import PanelWidget

            left = 0.0 if at_once else _WIDGET_AFTER - self._state.clock(time.monotonic())
            if self._quiet:
                self._over.wait()
            elif self._alone:
                if not self._over.wait(_LINES_AFTER):
                    self._print_lines()
                while not self._over.wait(_NOTE_PERIOD):
                    self._note_that_it_runs()
            elif not self._over.wait(max(0.0, left)):
                self._open(PanelWidget)
                pages = Pages(self._state, self._arrivals, self._send, self._stacks)
                self._keep_up(pages)
        except Exception:
            logger.exception("the panel failed; the run goes on without it")
            self._over.wait()
        self._finish()
        if pages is not None:
            pages.close()

    def _open(self, kind: type[PanelWidget]) -> None:
        widget = kind(self._state.title, len(self._state.ranks), self._token, *self._cell)
        self._widget = widget
        answer_on_own_subshell(widget)
        self._listener = hear_control_channel(self._token, lambda content: self._hear(content, "control"))
        widget.on_msg(lambda _widget, content, _buffers: self._hear(content, "comm"))
        self._publish(*widget.bundle(), {"display_id": self._place("panel")})
        self._is_open, self._opened_at = True, time.monotonic()

    def _print_lines(self) -> None:
        """Print what the ranks write from now on, and what they have written: there is no page that shows it."""
        self._outputs.release()
        lines = TextPanel(self._logs)
        with self._lock:
            for launched in self._launches:
                lines.note(launched)
            self._lines = lines
        lines.follow()

    def _stop_lines(self) -> bool:
        """Print no more lines; tell whether there were any."""
        with self._lock:
            lines, self._lines = self._lines, None
        if lines is None:
            return False
        lines.close()
        return True

    def _keep_up(self, pages: Pages) -> None:
        assert self._arrivals is not None
        noted_at = shown_at = time.monotonic()
        if draws_unheard():
            self._met.set()
        while not self._over.is_set():
            if self._met.is_set():
                self._outputs.release()
                # the page shows all of the logs, from the beginning
                if self._stop_lines():
                    print_lines(["… goes on in the panel"])
            elif self._lines is None and time.monotonic() - self._opened_at > _LINES_AFTER:
                self._print_lines()
            if not self._viewers.has_left():
                shown_at = time.monotonic()
                self._started_anew = False
            elif time.monotonic() - shown_at > _CLEARED_AFTER:
                self._start_anew()
            # with a lock of its own, so that events need not wait until files are read
            with self._looking:
                grown = self._arrivals.look()
            while not self._heard.empty():
                pages.hear(*self._heard.get())
            with self._lock:
                pages.tick(grown)
            if time.monotonic() - noted_at > _NOTE_PERIOD:
                noted_at = time.monotonic()
                self._note_that_it_runs()
            self._over.wait(self._pause())
        with self._lock:
            self._arrivals.look()
            pages.finish()

    def _pause(self) -> float:
        assert self._arrivals is not None
        return next((pause for most, pause in _LOOK_PERIODS if self._arrivals.parts < most), _LONGEST_LOOK_PERIOD)

    def _send(self, content: ToPage, buffers: list[bytes]) -> None:
        if self._widget is not None:
            self._widget.send(content, buffers)

    def _note_that_it_runs(self) -> None:
        assert self._arrivals is not None
        html, text = still_running(self._state, self._arrivals.folder(self._state.attempt), time.time(), self._token)
        update = self._noted_at is not None
        self._noted_at = time.monotonic()
        self._publish({"text/html": html, "text/plain": text}, {}, {"display_id": self._place("note")}, update=update)

    def _finish(self) -> None:
        with self._finishing:
            if self._finished:
                return
            self._finished = True
            self._listener = None
            # whatever fails, the other steps are done
            for step in (self._put_record, self._outputs.close, self._outputs.arrange, self._leave):
                try:
                    step()
                except Exception:
                    logger.exception("the panel failed; the run is not concerned")
            # a page may keep the widget, which must not keep the run with all its results
            self._orders.clear()
            del self._summary, self._stacks, self._logs

    def _put_record(self) -> None:
        # the panel may be kept for long, and needs the logs no more
        arrivals, self._arrivals = self._arrivals, None
        summary = self._summary()
        if arrivals is None or (self._quiet and summary.status == "finished" and not self._state.restarts):
            return
        printed = self._stop_lines()
        with self._lock:
            html, text = record(self._state, summary, arrivals, with_logs=not printed)
        self._record = html, text
        data = {"text/html": html, "text/plain": text}
        name = "panel"
        left = self._opened_at + _PAGE_ANSWERS_WITHIN - time.monotonic()
        is_met = self._met.wait(max(0.0, left)) if self._is_open else True
        if not (is_met and self._viewers.takes_updates()) or self._viewers.has_left():
            # An update may get to no page, so the record becomes a new output, and that of the widget is emptied.
            self._publish(NOTHING, {}, {"display_id": self._place("panel")}, update=True)
            name = "record"
        if self._viewers.has_left():
            self._start_anew()
            self._outputs.put_above(Bundle(data, {}))
        else:
            self._publish(data, {}, {"display_id": self._place(name)}, update=self._is_open and name == "panel")
        if self._noted_at is not None:
            self._publish(NOTHING, {}, {"display_id": self._place("note")}, update=True)

    def _start_anew(self) -> None:
        if not self._started_anew:
            self._started_anew = True
            self._outputs.start_anew()

    def _leave(self) -> None:
        widget, self._widget = self._widget, None
        if widget is not None:
            widget.rest(*self._record)
        self._record = ("", "")

    def _place(self, name: str) -> str:
        return f"nblaunch-{self._token}-{name}"

    def _hear(self, content: object, channel: Channel) -> None:
        """Take a message of a page, in any thread; one may come twice, and anything else is ignored."""
        # imported here, because a panel without a widget does not need it
        from nblaunch.panel.page_messages import read

        if self._finished:
            return
        self._still_busy()
        self._met.set()
        message = read(content)
        if message is None:
            return
        self._viewers.note(message)
        if message["kind"] in ("stop", "kill"):
            # once each: a second interrupt would break off how ranks deal with the first one
            order = self._orders.pop(message["kind"], None)
            if order is not None:
                order()
        elif message["kind"] not in ("here", "gone"):
            self._heard.put((message, channel))
