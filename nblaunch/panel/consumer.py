"""`Consumer`: something that shows a run, or a part of it, out of its events."""

from __future__ import annotations

from collections.abc import Callable

from nblaunch.events import Event

__all__ = ["Consumer"]


class Consumer:
    """Shows something of a run.

    Each of its methods does nothing; a class of consumers defines those for which it has something to do.

    Attributes
    ----------
    leaves_record : bool
        Whether a record stays below the cell, which tells of failures.
    shows_usage : bool
        Whether it shows what the ranks use, for which they have to be looked at.
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
            Also if they may have ended in a moment: the cell will not wait for them.
        """

    def detach(self, failure: Callable[[], str]) -> None:
        """Take note, before the start, that nobody waits for the run, whom an exception would tell.

        Parameters
        ----------
        failure : callable
            Returns, once the run has ended, what it has failed of as text, or an empty one.
        """

    def close(self) -> None:
        """Show the rest; return when all of it is there."""

    def hold(self) -> None:
        """Leave the terminal to the shell: the program is about to be stopped by Ctrl-Z."""

    def go_on(self) -> None:
        """Take the terminal again: the program was set going."""

    def say(self, line: str) -> bool:
        """Print a line between those of the ranks, and tell whether that is possible now."""
        return False
