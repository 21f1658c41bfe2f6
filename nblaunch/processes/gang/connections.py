"""`Connections`: what the ranks of a gang send becomes events, and answers go back to them."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Sequence
from functools import partial

from nblaunch.events import Event, LastWord
from nblaunch.messages.decoder import decode
from nblaunch.processes.gang.clock import RanksClock
from nblaunch.processes.gang.inbox import Inbox, ProtocolError
from nblaunch.processes.gang.watched_rank import WatchedRank
from nblaunch.processes.starting.base import PARENT_ONLY_FDS

__all__ = ["Connections"]

logger: logging.Logger = logging.getLogger(__name__)


class Connections:
    """The control connections to the ranks of a gang. In the supervisor's thread only.

    Parameters
    ----------
    watch : callable
        Takes a descriptor, and a callback that is called whenever it is readable.
    unwatch : callable
        Takes a descriptor that is not to be watched any more.
    tell : callable
        Gets the events.
    note_failure : callable
        Called when a rank has reported that its task failed.
    clock : RanksClock
        The time of a failure is noted by it.
    """

    def __init__(
        self,
        watch: Callable[[int, Callable[[], None]], None],
        unwatch: Callable[[int], None],
        tell: Callable[[Event], None],
        note_failure: Callable[[], None],
        clock: RanksClock,
    ) -> None:
        self._watch = watch
        self._unwatch = unwatch
        self._tell = tell
        self._note_failure = note_failure
        self._clock = clock

    def open(self, rank: WatchedRank) -> None:
        """Receive from now on what a rank sends."""
        if rank.inbox is not None:
            self._watch(rank.inbox.fileno(), partial(self.receive, rank))

    def receive(self, rank: WatchedRank) -> None:
        """Take the messages of a rank that have arrived."""
        inbox = rank.inbox
        if inbox is None:
            return
        try:
            messages = inbox.receive()
        except (ProtocolError, OSError) as error:
            messages = []
            self._break_off(rank, inbox, error)
        for kind, body, at in messages:
            message = decode(rank.number, kind, body)
            if message is None:
                continue
            if message.LAST_WORD is not None:
                if not rank.busy:
                    continue  # it has had its last word
                rank.note_last_word(message.LAST_WORD)
            self._tell(message.event(rank.number, at))
            if message.LAST_WORD == LastWord.ERROR:
                rank.failed_at = self._clock.now()
                self._note_failure()
        if inbox.closed:
            self.close(rank)

    def answer(self, rank: WatchedRank, question: int, body: bytes) -> None:
        """Answer a question of a rank, unless the rank is gone."""
        self._send(rank, lambda inbox: inbox.answer(question, body), "answer")

    def give(self, rank: WatchedRank, task: bytes, descriptors: Sequence[int]) -> None:
        """Give a rank its next task, unless the rank is gone; see `Inbox.give`."""
        self._send(rank, lambda inbox: inbox.give(task, descriptors), "task")

    def _send(self, rank: WatchedRank, send: Callable[[Inbox], None], what: str) -> None:
        if rank.inbox is None:
            return
        try:
            send(rank.inbox)
        except ProtocolError as error:
            self._break_off(rank, rank.inbox, error)
            self.close(rank)
        except OSError as error:
            logger.debug("rank %d is gone before its %s came: %s", rank.number, what, str(error))

    def close(self, rank: WatchedRank) -> None:
        """Close the connection to a rank, if it is open."""
        if rank.inbox is not None:
            self._unwatch(rank.inbox.fileno())
            PARENT_ONLY_FDS.discard(rank.inbox.fileno())
            rank.inbox.close()
            rank.inbox = None

    def _break_off(self, rank: WatchedRank, inbox: Inbox, error: Exception) -> None:
        # The error is logged as text: a log record with the exception would keep its frames, and so the run.
        rank.broke = str(error)
        logger.warning("rank %d broke its connection: %s", rank.number, rank.broke)
        inbox.closed = True
        if not rank.reaped:  # its process id may belong to another process by now
            rank.signal(signal.SIGKILL)
