"""`Inquiry`: where the ranks are now, asked for by pages.

It takes its time, up to seconds while ranks are being started. So it is asked in a thread of its own, by one thread at
a time: neither the pages' other messages nor a Stop wait for it, and whoever asks meanwhile gets the same answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from nblaunch.cell_threads import cell_thread
from nblaunch.panel.page_messages import Found
from nblaunch.payload import encodable, shortened, why

__all__ = ["Inquiry"]

# Characters of an answer, and pages' questions that wait for one.
_MAX_ANSWER_CHARACTERS = 100_000
_MAX_WAITING_QUESTIONS = 100

Question = tuple[str, int]
"""A page, and the number of its question."""


class Inquiry:
    """Asks where the ranks are; not safe for several threads, all of it is called by the panel's.

    Parameters
    ----------
    look : callable
        Returns that as text; it may take its time, and raise.
    """

    def __init__(self, look: Callable[[], str]) -> None:
        self._look = look
        self._waiting: dict[Question, None] = {}
        self._thread: threading.Thread | None = None
        self._found: Found | None = None

    def ask(self, question: Question) -> None:
        """Have a question answered, together with those that wait already."""
        if len(self._waiting) >= _MAX_WAITING_QUESTIONS:
            return
        self._waiting[question] = None
        if self._thread is not None:
            return
        thread = cell_thread("nblaunch-inquiry", self._find_out)
        try:
            thread.start()
        except RuntimeError:  # the system gives no more threads
            self._found = {"error": "this process can start no more threads"}
        else:
            self._thread = thread

    def answers(self) -> list[tuple[Question, Found]]:
        """Return what was found out since the last time, for each who has asked."""
        if self._found is None:
            return []
        found, self._found = self._found, None
        answered, self._waiting = list(self._waiting), {}
        self.close()
        return [(question, found) for question in answered]

    def close(self) -> None:
        """Wait for the thread."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _find_out(self) -> None:
        try:
            self._found = {"text": encodable(shortened(self._look(), _MAX_ANSWER_CHARACTERS))}
        except Exception as error:  # whatever it is, somebody waits for an answer
            self._found = {"error": encodable(shortened(why(error), _MAX_ANSWER_CHARACTERS))}
