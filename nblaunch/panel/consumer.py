"""`Consumer`: the base class of what shows a run, or a part of it, from its events."""

from __future__ import annotations

from collections.abc import Callable

from nblaunch.events import Event

__all__ = ["Consumer"]


class Consumer:
    """Shows something of a run. Each method does nothing here; subclasses override those that they need.

    Attributes
    ----------
    leaves_record : bool
        Whether it leaves a record below the cell, which tells of failures.
    shows_usage : bool
        Whether it shows processor time and memory of the ranks, which then have to be measured.
    """

    leaves_record: bool = False
    shows_usage: bool = False

    def note(self, event: Event) -> None:
        """Take an event; they come in order, from the thread that watches the ranks.

        `nblaunch.events.Answered` comes in any thread.
        """

    def follow(self, at_once: bool = False) -> None:
        """Show from now on what the ranks do, while they do it.

        Parameters
        ----------
        at_once : bool
            Begin even if the ranks may end in a moment, because the cell does not wait for them.
        """

    def detach(self, failure: Callable[[], str]) -> None:
        """Take note, before the start, that nobody waits for the run: no exception will tell of a failure.

        Parameters
        ----------
        failure : callable
            Returns, once the run has ended, the text of its failure; empty if it has not failed.
        """

    def close(self) -> None:
        """Show the rest; return when everything is shown."""

    def hold(self) -> None:
        """Leave the terminal to the shell: the program is about to be stopped by Ctrl-Z."""

    def go_on(self) -> None:
        """Use the terminal again: the program was set going."""

    def say(self, line: str) -> bool:
        """Print a line between those of the ranks, and tell whether that is possible now."""
        return False
