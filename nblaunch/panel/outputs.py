"""What ranks display, live under the cell: `OutputArea`, and `OutputLines` where there is only a terminal.

::

    Displayed events ─► Places ─► publish, in a thread, a few times a second ─► under the cell

Events come in the thread that watches the ranks, which only notes what is to be shown. Another thread publishes it, so
that neither a slow page nor endless displays slow the ranks. Of what changes faster than it is published, only the last
state is seen.
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

# Seconds between two times that outputs are published.
_PERIOD = 0.05
_MAX_BYTES_PER_SECOND = 10_000_000
# Characters that are printed in all where there is only a terminal.
_MAX_PRINTED_CHARACTERS = 1_000_000


class Publish(Protocol):
    """Shows an output under the cell, or, with `update`, changes those with the display id in `transient`."""

    def __call__(
        self, data: dict[str, Any], metadata: dict[str, Any], transient: dict[str, Any], *, update: bool = False
    ) -> None:
        """Show or change it."""


def kernel_publisher() -> Publish | None:
    """Return a function that publishes under the cell that runs now; None outside of notebooks.

    IPython is used only if it has been imported already.
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    displaypub = sys.modules.get("IPython.core.displaypub")
    publisher = getattr(shell, "display_pub", None)
    # IPython's own publisher, in a terminal, only prints text
    if publisher is None or displaypub is None or type(publisher).publish is displaypub.DisplayPublisher.publish:
        return None
    publisher = _bound_to_this_cell(publisher)

    def publish(
        data: dict[str, Any], metadata: dict[str, Any], transient: dict[str, Any], *, update: bool = False
    ) -> None:
        publisher.publish(data=data, metadata=metadata, transient=transient, update=update)

    return publish


def _bound_to_this_cell(publisher: Any) -> Any:
    """Return a publisher whose outputs belong to the cell that runs now, also when another cell runs later.

    The publisher of ipykernel 7 finds the cell through the context. That of ipykernel 6 has one cell for all threads,
    in a trait. A copy has a trait of its own, which stays as it is.
    """
    return copy.copy(publisher) if "parent_header" in publisher.trait_names() else publisher


def show_outputs(
    show_ranks: Collection[int] | None = None, print_them: Callable[[list[str]], None] = print_lines
) -> OutputArea | OutputLines:
    """Return a consumer that shows the outputs of ranks in this notebook or, by `print_them`, in a terminal."""
    publish = kernel_publisher()
    return OutputLines(show_ranks, print_them) if publish is None else OutputArea(publish, show_ranks=show_ranks)


class OutputArea(Consumer):
    """Shows what ranks display in a notebook; outputs that are alike in several ranks are shown once.

    `note` takes the events; `close` returns when everything has been published.

    Parameters
    ----------
    publish : callable, optional
        Called in a thread of its own; by default `kernel_publisher()`. Without a kernel, nothing is published.
    show_ranks : collection of int, optional
        Ranks whose outputs are shown; by default all.
    most, most_bytes : int
        How many outputs, and bytes in them, are shown at a time. One line tells of the others.
    held : bool
        Show nothing before `release` or `close`, because something else is to stand above the outputs.
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
        # Display ids begin with this, and not with the names that ranks give, so that those of several runs differ.
        self._token = f"nblaunch-{uuid.uuid4().hex[:12]}"
        # Acquired directly, and not through the condition: that is Python code, in which an exception of a signal
        # handler would leave the lock acquired.
        self._lock = threading.RLock()
        self._condition = threading.Condition(self._lock)
        self._over = False
        self._held = held
        self._thread: threading.Thread | None = None
        # the outputs under the cell, from top to bottom
        self._shown: dict[str, Bundle] = {}
        # display ids of outputs that a person has cleared since
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
        """Show the outputs that were held, and all that come from now on."""
        with self._lock:
            if self._held:
                self._held = False
                if self._places.has_changed():
                    self._wake()

    def start_anew(self) -> None:
        """Publish new outputs from now on, and update none that was shown: a person has cleared those."""
        with self._publishing, self._lock:
            self._places.start_anew()
            self._cleared += [self._display_id(name) for name in self._shown]
            self._shown = {}
            self._token = f"nblaunch-{uuid.uuid4().hex[:12]}"

    def put_above(self, content: Bundle) -> None:
        """Put something above all outputs when they are arranged."""
        self._above = [content]

    def close(self) -> None:
        """Publish what is left and end the thread."""
        self._end()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._publish_changes()

    def arrange(self) -> None:
        """Group the outputs, which were shown as they came, by rank; to be called after `close`.

        Frontends cannot move an output, so the contents of outputs change places.
        """
        nothing = Bundle(dict(NOTHING), {})
        # a page that still shows a cleared output would show its content twice
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
        """Return all that is to be shown when the run has ended, with labels, within the same limits.

        It is in the order of the ranks, and for each rank in the order in which that displayed it. What several ranks
        displayed alike is there once, at the place of the first of them.
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
            with contextlib.suppress(RuntimeError):  # no more threads: all is published by `close`
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
                self._condition.wait_for(lambda: self._over, max(_PERIOD, size / _MAX_BYTES_PER_SECOND))

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
        except Exception:  # the other outputs are published all the same
            logger.exception("an output of a rank could not be published")


class OutputLines(Consumer):
    """Prints the text of what ranks display, each line with its rank before it.

    Parameters
    ----------
    show_ranks : collection of int, optional
        Ranks whose outputs are printed; by default all.
    print_them : callable
        Prints lines; it is called in the thread that watches the ranks, and should not wait for a slow terminal.
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
