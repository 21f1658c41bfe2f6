"""`Inquiry`: pages ask where the ranks are now.

Finding that out may take seconds while ranks are being started. So it is done in a thread of its own: neither other
messages of pages nor a Stop wait for it. Pages that ask while it is under way get the same answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from nblaunch.cell_threads import cell_thread
from nblaunch.panel.page_messages import Found
from nblaunch.payload import encodable, shortened, why

__all__ = ["Inquiry"]

_MAX_ANSWER_CHARACTERS = 100_000
_MAX_WAITING_QUESTIONS = 100

Question = tuple[str, int]
"""A page, and the number of its question."""


class Inquiry:
    """Finds out where the ranks are; only the panel's thread may call its methods.

    Parameters
    ----------
    look : callable
        Returns where the ranks are, as text; it may take long, and may raise.
    """

    def __init__(self, look: Callable[[], str]) -> None:
        self._look = look
        self._waiting: dict[Question, None] = {}
        self._thread: threading.Thread | None = None
        self._found: Found | None = None

    def ask(self, question: Question) -> None:
        """Note a question, which is answered together with those that wait already."""
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
        """Return the questions that can be answered now, each with its answer."""
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
