"""What ranks display, live under the cell: `OutputArea`, and `OutputLines` where there is only a terminal.

::

    Displayed events ─► Places ─► publish, in a thread, a few times a second ─► under the cell

Events come in the thread that watches the ranks. It only notes what is to be shown; another one publishes, so that a
page that is slow, or ranks that display without end, cost the ranks nothing. Of what changes faster than it is
published, the last state is seen.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import sys
import threading
import uuid
from collections.abc import Callable, Collection
from typing import Any, Protocol

from nblaunch.cell_threads import cell_thread
from nblaunch.events import Displayed, Ended, Event, Launched
from nblaunch.panel.consumer import Consumer
from nblaunch.panel.notices import print_lines
from nblaunch.panel.places import NOTHING, Bundle, Places, text_of

__all__ = ["OutputArea", "OutputLines", "Publish", "kernel_publisher", "show_outputs"]

logger: logging.Logger = logging.getLogger(__name__)

# Seconds between two looks at what is to be published, and bytes per second above which it waits longer.
_PERIOD = 0.05
_RATE = 10_000_000
# Characters that are printed in all where there is only a terminal.
_MAX_PRINTED_CHARACTERS = 1_000_000


class Publish(Protocol):
    """Shows an output under the cell, or, with `update`, changes those with the display id in `transient`."""

    def __call__(
        self, data: dict[str, Any], metadata: dict[str, Any], transient: dict[str, Any], *, update: bool = False
    ) -> None:
        """Show or change it."""


def kernel_publisher() -> Publish | None:
    """Return what publishes under the cell that runs now; None where there is no notebook, but a terminal or a program.

    It looks for IPython and does not import it.
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    displaypub = sys.modules.get("IPython.core.displaypub")
    publisher = getattr(shell, "display_pub", None)
    # IPython's own prints the text of what it is given
    if publisher is None or displaypub is None or type(publisher).publish is displaypub.DisplayPublisher.publish:
        return None
    publisher = _bound_to_this_cell(publisher)

    def publish(
        data: dict[str, Any], metadata: dict[str, Any], transient: dict[str, Any], *, update: bool = False
    ) -> None:
        publisher.publish(data=data, metadata=metadata, transient=transient, update=update)

    return publish


def _bound_to_this_cell(publisher: Any) -> Any:
    """Return a publisher whose outputs belong to the cell that runs now, also when another one runs.

    The publisher of ipykernel 7 does so by itself, because it goes by the context. That of ipykernel 6 knows one cell
    for all threads, in a trait. A copy has a trait of its own, which stays as it is; it is of the same class, because a
    kernel may have a publisher of its own.
    """
    return copy.copy(publisher) if "parent_header" in publisher.trait_names() else publisher


def show_outputs(
    show_ranks: Collection[int] | None = None, print_them: Callable[[list[str]], None] = print_lines
) -> OutputArea | OutputLines:
    """Return what shows the outputs of ranks here: in a notebook, or in a terminal by `print_them`."""
    publish = kernel_publisher()
    return OutputLines(show_ranks, print_them) if publish is None else OutputArea(publish, show_ranks=show_ranks)


class OutputArea(Consumer):
    """Shows what ranks display, alike outputs of several ranks once.

    Feed it events with `note`; `close` returns when everything has been published.

    Parameters
    ----------
    publish : callable, optional
        Called with data, metadata, transient and update, in a thread of its own; by default that of the kernel that
        runs this. Nothing is published if none does.
    show_ranks : collection of int, optional
        Ranks whose outputs are shown; by default all.
    most, most_bytes : int
        How many outputs, and bytes in them, are shown at a time. Of the others one line tells.
    held : bool
        Show nothing before `release` or `close`: something else is to stand above it.
    """

    def __init__(
        self,
        publish: Publish | None = None,
        *,
        show_ranks: Collection[int] | None = None,
        most: int = 200,
        most_bytes: int = 20_000_000,
        held: bool = False,
    ) -> None:
        self._publish = publish or kernel_publisher()
        self._show_ranks = show_ranks
        self._places = Places(most, most_bytes)
        # no name that a rank has given is used, so that those of several ranks and runs do not meet
        self._token = f"nblaunch-{uuid.uuid4().hex[:12]}"
        # Taken itself, and not through the condition, whose code is Python: there, an exception of a signal handler
        # would leave the lock taken.
        self._lock = threading.RLock()
        self._condition = threading.Condition(self._lock)
        self._over = False
        self._held = held
        self._thread: threading.Thread | None = None
        # what stands under the cell, from top to bottom
        self._shown: dict[str, Bundle] = {}
        # what stood there before it was cleared
        self._cleared: list[str] = []
        # guards those two, and what is published with them
        self._publishing = threading.Lock()
        self._above: list[Bundle] = []

    def note(self, event: Event) -> None:
        """Take an event; it costs little, and never raises."""
        try:
            if isinstance(event, Displayed):
                if self._show_ranks is None or event.rank in self._show_ranks:
                    with self._lock:
                        self._places.note(event)
                        self._wake()
            elif isinstance(event, Ended):
                self._end()
        except Exception:
            logger.exception("an output of a rank could not be shown: %r", event)

    def release(self) -> None:
        """Show from now on what comes, and what was held."""
        with self._lock:
            if self._held:
                self._held = False
                if self._places.has_changed():
                    self._wake()

    def start_anew(self) -> None:
        """Count on nothing that was shown: somebody has cleared it. What comes has places of its own from now on."""
        with self._publishing, self._lock:
            self._places.start_anew()
            self._cleared += [self._display_id(name) for name in self._shown]
            self._shown = {}
            self._token = f"nblaunch-{uuid.uuid4().hex[:12]}"

    def put_above(self, content: Bundle) -> None:
        """Have something stand above all outputs when they are arranged."""
        self._above = [content]

    def close(self) -> None:
        """Publish what is left and end the thread."""
        self._end()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._publish_changes()

    def arrange(self) -> None:
        """Group by rank, once it is closed, what was shown as it came.

        Frontends cannot move an output, but its content can change places.
        """
        nothing = Bundle(dict(NOTHING), {})
        # a page that shows it yet shall not have it twice
        for display_id in self._cleared:
            self._show(display_id, nothing, update=True)
        final = self._above + self.final()
        names = list(self._shown)
        for index, name in enumerate(names):
            content = final[index] if index < len(final) else nothing
            if content != self._shown[name]:
                self._put(name, content, update=True)
        for index, content in enumerate(final[len(names) :], len(names)):
            self._put(f"more-{index}", content, update=False)

    def final(self) -> list[Bundle]:
        """Return all that is to be shown when the run has ended, labels included.

        It is in the order of the ranks, and for each in the order in which it was displayed. What several ranks
        displayed alike is there once, where the first of them has it. The bounds hold here too.
        """
        with self._lock:
            return self._places.final()

    def _end(self) -> None:
        with self._lock:
            self._over = True
            self._condition.notify_all()

    def _wake(self) -> None:
        if self._publish is None or self._held:
            return
        if self._thread is None and not self._over:
            thread = cell_thread("nblaunch-outputs", self._keep_publishing)
            with contextlib.suppress(RuntimeError):  # the system gives no more threads: all is published at the end
                thread.start()
                self._thread = thread
        self._condition.notify_all()

    def _keep_publishing(self) -> None:
        over = False
        while not over:
            with self._lock:
                self._condition.wait_for(lambda: self._places.has_changed() or self._over)
                over = self._over
            size = self._publish_changes()
            with self._lock:
                self._condition.wait_for(lambda: self._over, max(_PERIOD, size / _RATE))

    def _publish_changes(self) -> int:
        """Publish what has changed; return about how many bytes that were."""
        with self._publishing:
            with self._lock:
                changes = self._places.changes()
            if self._publish is None:
                return 0
            for content, name, update in changes:
                self._put(name, content, update)
        return sum(change.content.size() for change in changes)

    def _put(self, name: str, content: Bundle, update: bool) -> None:
        self._shown[name] = content
        self._show(self._display_id(name), content, update)

    def _display_id(self, name: str) -> str:
        return f"{self._token}-{name}"

    def _show(self, display_id: str, content: Bundle, update: bool) -> None:
        if self._publish is None:
            return
        try:
            transient = {"display_id": display_id}
            self._publish(dict(content.data), dict(content.metadata), transient, update=update)
        except Exception:  # one that a frontend cannot be sent shall not keep the others from it
            logger.exception("an output of a rank could not be published")


class OutputLines(Consumer):
    """Prints the text of what ranks display, each line with its rank before it.

    Parameters
    ----------
    show_ranks : collection of int, optional
        Ranks whose outputs are printed; by default all.
    print_them : callable
        Prints lines, in the thread that watches the ranks: it should not wait for a slow terminal.
    """

    def __init__(
        self, show_ranks: Collection[int] | None = None, print_them: Callable[[list[str]], None] = print_lines
    ) -> None:
        self._show_ranks = show_ranks
        self._print_them = print_them
        self._width = 1
        self._left = _MAX_PRINTED_CHARACTERS

    def note(self, event: Event) -> None:
        """Take an event; never raises."""
        if isinstance(event, Launched):
            self._width = len(str(event.nprocs - 1))
        elif isinstance(event, Displayed) and (self._show_ranks is None or event.rank in self._show_ranks):
            self._print(event)

    def _print(self, event: Displayed) -> None:
        if self._left <= 0 or not event.data:
            return
        lines = [f"[{event.rank:>{self._width}}] {line}" for line in text_of(event.data).splitlines()]
        self._left -= sum(len(line) + 1 for line in lines)
        if self._left <= 0:
            lines = [f"[{event.rank:>{self._width}}] … more outputs, all of them in run.outputs"]
        self._print_them(lines)
