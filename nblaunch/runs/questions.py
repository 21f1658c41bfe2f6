"""`Questions`: what the ranks of a run ask, and who is asked next.

::

    Asked, QuestionWithdrawn, SessionEnded ─► Questions ─► Box (a person) ─► answers ─► gang ─► rank

Events come in the thread that watches the ranks. The thread that waits for the run puts the questions to a person, one
after the other. A debugger keeps the input box until it is left. A rank that has raised (``--pdb``) is *held*: it does
not report its failure yet. When the person has looked at all ranks that are held, all of them report, so that none is
ended because of another one's failure before it has told its own.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import traceback
from collections.abc import Callable, Mapping

from nblaunch.events import (
    Asked,
    Ended,
    Ending,
    Event,
    Exited,
    Finished,
    LastWord,
    QuestionKind,
    QuestionWithdrawn,
    Raised,
    Refused,
    Restarting,
    SessionEnded,
)
from nblaunch.interrupts import MAX_WAIT_SLICE
from nblaunch.jupyter.input_box import Box, tell
from nblaunch.payload import encodable, pack_plain
from nblaunch.wording import name_ranks

__all__ = ["Questions"]

logger: logging.Logger = logging.getLogger(__name__)

# An answer has to fit into a socket's buffer, because the gang does not wait for a rank.
_MAX_ANSWER_BYTES = 60_000
# Seconds that a rank has to report after a person has quit its debugger, before all ranks are stopped.
_QUIT_PATIENCE = 2.0
# Open questions of one rank; more are ignored.
_MAX_QUESTIONS = 1000
# Answers: go on, and there will be no answer.
_GO: Mapping[str, object] = {"line": ""}
_END: Mapping[str, object] = {"end": True}


class Questions:
    """The open questions of the ranks.

    Parameters
    ----------
    answer : callable
        Sends an answer: rank, number of the question, body.
    stop : callable
        Ends the ranks.
    failure_stops : bool
        Whether the first failure ends the others by itself.
    restarts : bool
        Whether the ranks may be started once more after a failure.
    """

    def __init__(
        self,
        answer: Callable[[int, int, bytes], None],
        stop: Callable[[], None],
        *,
        failure_stops: bool,
        restarts: bool = False,
    ) -> None:
        self._answer_with = answer
        self._stop = stop
        self._failure_stops = failure_stops
        self._restarts = restarts
        # called with a line about each question, where nobody waits to put it
        self.announce: Callable[[str], None] | None = None
        self._open: dict[tuple[int, int], Asked] = {}
        # sessions of debuggers by rank and number, until they are left
        self._sessions: set[tuple[int, int]] = set()
        # sessions of ranks that are held at their failure
        self._held: set[tuple[int, int]] = set()
        # sessions of held ranks that were ended from here: a quit that follows is not the person's
        self._cut_off: set[tuple[int, int]] = set()
        # ranks in whose debugger a person has quit, which ends the run
        self._quits: set[int] = set()
        # whether no person is asked any more, because the ranks are being ended, or will be in a moment
        self._closing = False
        self._over = False
        self._insisting: threading.Timer | None = None
        self._changed: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._holder: tuple[int, int] | None = None
        self._told: frozenset[int] = frozenset()

    @property
    def asking(self) -> dict[int, str]:
        """The ranks that wait for an answer, and what each of them asks."""
        return {question.rank: _what(question) for question in list(self._open.values()) if _is_put(question)}

    # ---- events, in the supervisor thread

    def note(self, event: Event) -> None:
        """Take an event."""
        if isinstance(event, Asked):
            self._take(event)
        elif isinstance(event, QuestionWithdrawn):
            question = self._open.pop((event.rank, event.number), None)
            if question is not None:
                self._sessions.discard((event.rank, question.session))
        elif isinstance(event, SessionEnded):
            if event.text and self.announce is None:
                tell(event.text)
            self._sessions.discard((event.rank, event.session))
            if event.quit:
                self._quit(event.rank)
        elif isinstance(event, Exited):
            self._forget(event.rank, failed=event.reported != LastWord.VALUE)
        elif isinstance(event, Finished):
            self._forget(event.rank, failed=False)
        elif isinstance(event, Refused) or (isinstance(event, Raised) and not event.held):
            self._forget(event.rank, failed=True)
        elif isinstance(event, Ending):
            self._closing = True
        elif isinstance(event, Restarting):
            for known in (self._open, self._sessions, self._held, self._cut_off, self._quits):
                known.clear()
            self._closing = False
        elif isinstance(event, Ended):
            self._over = True
            self._open.clear()
            if self._insisting is not None and self._insisting.ident is not None:
                self._insisting.cancel()
                self._insisting.join()
        else:
            return
        self._release()
        self._changed.put(None)

    def _take(self, question: Asked) -> None:
        if sum(rank == question.rank for rank, _ in list(self._open)) >= _MAX_QUESTIONS:
            return
        self._open[question.rank, question.number] = question
        session = (question.rank, question.session)
        if question.kind in (QuestionKind.LEFT, QuestionKind.QUIT):
            self._sessions.discard(session)
            if question.kind == QuestionKind.QUIT and session not in self._cut_off:
                self._quit(question.rank)
            return
        if question.kind == QuestionKind.HELD:
            self._held.add(session)
        if self._closing:
            self._let_go(question)
            return
        if question.session:
            self._sessions.add(session)
        # not within the session that a person is in, of which each command is a question
        if self.announce is not None and session != self._holder:
            rank = question.rank
            self.announce(
                f"rank {rank} waits: {_what(question)}. %multiproc debug {rank} answers, or debug({rank}) of its Run.\n"
            )

    def _quit(self, rank: int) -> None:
        self._quits.add(rank)
        self._closing = True
        # All ranks are stopped later in any case: the rank's code may catch what its debugger raises, and go on.
        if self._insisting is not None:
            return
        self._insisting = threading.Timer(_QUIT_PATIENCE, self._insist, [rank])
        self._insisting.daemon = True
        with contextlib.suppress(RuntimeError):  # no more threads
            self._insisting.start()

    def _insist(self, rank: int) -> None:
        if rank in self._quits and not self._over:
            self._stop()

    def _forget(self, rank: int, *, failed: bool) -> None:
        """Forget a rank that has nothing more to ask."""
        for key in [key for key in list(self._open) if key[0] == rank]:
            self._open.pop(key, None)
        self._sessions.difference_update([session for session in self._sessions if session[0] == rank])
        if failed and self._failure_stops:
            self._closing = True
        if rank in self._quits and (self._restarts or not (failed and self._failure_stops)):
            self._quits.discard(rank)
            self._stop()

    def _release(self) -> None:
        """Let ranks that are held report, once a person has looked at all of them."""
        if self._sessions and not self._closing:
            return
        for question in list(self._open.values()):
            self._let_go(question)

    def _let_go(self, question: Asked) -> None:
        """Let a rank report that is held. A rank that asks anything else gets no answer, and is ended with the run."""
        session = (question.rank, question.session)
        if question.kind in (QuestionKind.HELD, QuestionKind.LEFT, QuestionKind.QUIT):
            self._answer(question, _GO)
        elif question.kind == QuestionKind.COMMAND and self._closing and session in self._held:
            self._cut_off.add(session)
            self._answer(question, _END)

    # ---- the thread that asks a person

    def close(self) -> None:
        """Ask nobody any more: the ranks are interrupted."""
        self._closing = True

    def serve(self, box: Box, only: int | None = None) -> None:
        """Put questions to a person until the run has ended.

        Parameters
        ----------
        box : Box
            Where the person is.
        only : int, optional
            Put only those of one rank: one line, or the session of a debugger.
        """
        self._holder = None
        try:
            while not self._over:
                if self._holder is not None and self._holder not in self._sessions:
                    self._holder = None
                    if only is not None:
                        return
                question = self._next(only if self._holder is None else self._holder[0])
                if question is not None:
                    self._put(question, box)
                    if question.session:
                        self._holder = (question.rank, question.session)
                    elif only is not None and self._holder is None:
                        return
                elif only is not None and self._holder is None:
                    return
                else:
                    with contextlib.suppress(queue.Empty):
                        self._changed.get(timeout=MAX_WAIT_SLICE)
        finally:
            self._holder = None

    def _next(self, rank: int | None) -> Asked | None:
        if self._closing:
            return None
        waiting = (question for question in list(self._open.values()) if _is_put(question))
        return next((question for question in waiting if rank in (None, question.rank)), None)

    def _put(self, question: Asked, box: Box) -> None:
        key = (question.rank, question.number)
        if question.kind == QuestionKind.HELD:
            tell(
                f"{question.text}\n\nrank {question.rank} waits at {question.where}. c looks at the next rank that has "
                "failed, or lets all of them report; q ends the run; h shows all commands.\n"
            )
            self._answer(question, _GO)
            return
        if question.text:
            tell(question.text if question.text.endswith("\n") else f"{question.text}\n")
        self._tell_who_waits(question.rank)
        while True:
            try:
                line = box.ask(
                    question.prompt,
                    hidden=question.kind == QuestionKind.PASSWORD,
                    withdrawn=lambda: self._open.get(key) is not question,
                )
            except EOFError:
                self._answer(question, _END)
                return
            except Exception:
                # The rank is told that there is no answer, or it would wait forever. The error is logged as text: a
                # log record with the exception would keep its frames, and so the run.
                logger.error("rank %d cannot be answered:\n%s", question.rank, traceback.format_exc())
                self._answer(question, _END)
                return
            if line is None:
                tell(f"rank {question.rank} does not wait for an answer any more.\n")
                return
            line = encodable(line)
            if len(line.encode()) <= _MAX_ANSWER_BYTES:
                self._answer(question, {"line": line})
                return
            tell(f"An answer has at most {_MAX_ANSWER_BYTES:,} bytes: let the rank read longer texts from a file.\n")

    def _tell_who_waits(self, rank: int) -> None:
        waiting = frozenset(self.asking.keys() - {rank})
        if waiting and waiting != self._told:
            tell(f"{name_ranks(waiting)} {'waits' if len(waiting) == 1 else 'wait'} to ask too, after rank {rank}.\n")
        self._told = waiting

    def _answer(self, question: Asked, answer: Mapping[str, object]) -> None:
        key = (question.rank, question.number)
        if self._open.get(key) is question:
            # sent before it is removed: an interrupt in between repeats the answer, which the rank ignores
            self._answer_with(question.rank, question.number, bytes(pack_plain(dict(answer))))
            self._open.pop(key, None)


def _is_put(question: Asked) -> bool:
    return question.kind not in (QuestionKind.LEFT, QuestionKind.QUIT)


def _what(question: Asked) -> str:
    if question.kind == QuestionKind.HELD:
        return f"held at its failure, {question.where}"
    if question.kind == QuestionKind.COMMAND:
        return f"in the debugger, {question.where}"
    return f"asks {question.prompt.partition(': ')[2]!r:.100}"
