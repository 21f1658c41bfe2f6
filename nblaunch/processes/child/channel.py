"""`Channel`: a rank's end of the connection to its gang; see `nblaunch.processes.wire`."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from nblaunch.messages.message import Message
from nblaunch.messages.questions import Question, QuestionTakenBack
from nblaunch.payload import MOST_FILES, Packed, Stored
from nblaunch.processes.wire import HEADER, MAGIC, MAGIC_STORED, NUMBER, TASK
from nblaunch.refusals import start_or_refuse

__all__ = ["Channel", "in_whole"]

# Seconds of one wait for an answer, where the time for that is limited.
_STEP = 1.0


class Channel:
    """Sends messages to the gang, and receives answers and tasks."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._owner = os.getpid()
        # numbers of questions; they begin at random, so that no late answer for the rank of an earlier attempt fits
        self._numbers = itertools.count(int.from_bytes(os.urandom(6), "big"))
        # queues for the answers, by question; None says that no answer will come
        self._waiting: dict[int, queue.SimpleQueue[bytes | None]] = {}
        # the next tasks; None says that no task will come
        self._tasks: queue.SimpleQueue[tuple[bytes, list[int]] | None] = queue.SimpleQueue()
        self._listener: threading.Thread | None = None
        self._over = False

    def send(self, kind: str, body: bytes | Packed | Stored = b"") -> None:
        """Send a body under the name of its kind; return when the last byte is in the kernel's buffer.

        A process that the rank has forked is not the rank: for it, this does nothing.

        Parameters
        ----------
        kind : str
            At most 255 ASCII letters.
        body : bytes, Packed or Stored
            The body; of a `Stored` one, which must be in one file, the descriptor is passed on and closed here.

        Raises
        ------
        OSError
            If the gang is gone.
        """
        if os.getpid() != self._owner:
            return
        name = kind.encode("ascii")
        with self._lock:
            if isinstance(body, Stored):
                with body:
                    head = HEADER.pack(MAGIC_STORED, len(name), body.size(), time.monotonic()) + name
                    sent = socket.send_fds(self._connection, [head], list(body.descriptors))
                    self._connection.sendall(head[sent:])
                return
            size = body.size if isinstance(body, Packed) else len(body)
            self._connection.sendall(HEADER.pack(MAGIC, len(name), size, time.monotonic()) + name)
            for chunk in body.chunks() if isinstance(body, Packed) else [body]:
                self._connection.sendall(chunk)

    def tell(self, message: Message) -> None:
        """Send a message of a rank, as `send` does."""
        self.send(message.KIND, message.pack())

    def ask(self, question: Question, timeout: float | None = None) -> bytes:
        """Send a question and wait for its answer; several threads may do so at a time.

        A question that is given up, because of an interrupt for example, is taken back.

        Parameters
        ----------
        question : Question
            The question; it gets another number.
        timeout : float, optional
            Longest time in seconds.

        Raises
        ------
        ChildProcessError
            In a process that the rank has forked.
        TimeoutError
            If there is no answer in time.
        EOFError
            If there will be no answer, because the connection is closed.
        OSError
            If the gang is gone.
        """
        if os.getpid() != self._owner:
            raise ChildProcessError("a process that the rank has forked cannot ask on its behalf")
        number = next(self._numbers)
        answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._waiting[number] = answers
        answered = False
        try:
            self._listen()
            body = replace(question, number=number).pack()
            in_whole(lambda: self.send(Question.KIND, body))
            answer = None if self._over else _wait(answers, timeout)
            answered = True
        except queue.Empty:
            raise TimeoutError(f"nobody has answered within {timeout:g} s") from None
        finally:
            del self._waiting[number]
            if not answered:
                with contextlib.suppress(OSError):
                    in_whole(lambda: self.tell(QuestionTakenBack(number)))
        if answer is None:
            raise EOFError("nobody answers this rank any more")
        return answer

    def next_task(self) -> tuple[bytes, list[int]] | None:
        """Wait for the rank's next task.

        Returns
        -------
        (bytes, list of int) or None
            The description of the task, and its descriptors; None if there are no more tasks.

        Raises
        ------
        OSError
            If the system refuses a thread.
        """
        self._listen()
        return None if self._over else self._tasks.get()

    def _listen(self) -> None:
        # A thread, because several threads may wait for answers; it is started only in ranks that ask or stay.
        with self._lock:
            if self._listener is None:
                listener = threading.Thread(target=self._hear, name="nblaunch-answers", daemon=True)
                start_or_refuse(listener)
                self._listener = listener

    def _hear(self) -> None:
        # signals must reach the main thread, which has to wake up for them
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        with contextlib.suppress(OSError, EOFError):
            while True:
                descriptors: list[int] = []
                _, kind_length, size, _ = HEADER.unpack(self._receive(HEADER.size, descriptors))
                message = self._receive(kind_length + size, descriptors)
                kind, body = message[:kind_length], message[kind_length:]
                if kind == TASK:
                    self._tasks.put((body, descriptors))
                    continue
                waiting = self._waiting.get(NUMBER.unpack_from(body)[0])
                if waiting is not None:  # and the question was not taken back
                    waiting.put(body[NUMBER.size :])
        self._over = True
        self._tasks.put(None)
        for waiting in list(self._waiting.values()):
            waiting.put(None)

    def _receive(self, size: int, descriptors: list[int]) -> bytes:
        received = bytearray()
        while len(received) < size:
            some, passed, _, _ = socket.recv_fds(
                self._connection, size - len(received), MOST_FILES, socket.MSG_CMSG_CLOEXEC
            )
            if not some:
                raise EOFError
            received += some
            descriptors += passed
        return bytes(received)

    def close(self) -> None:
        """Close the socket and end the listener."""
        if self._listener is not None and os.getpid() == self._owner:
            # closing a socket does not wake a thread that reads from it
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RD)
            self._listener.join()
        self._connection.close()


def in_whole(send: Callable[[], None]) -> None:
    """Call `send` in a thread, where no interrupt can end it halfway.

    After half a message, the gang could not read the rank's result or exception.

    Raises
    ------
    OSError
        What `send` raises.
    """
    if threading.current_thread() is not threading.main_thread():
        send()
        return
    failed: list[OSError] = []

    def attempt() -> None:
        try:
            send()
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=attempt, name="nblaunch-send")
    try:
        thread.start()
    except RuntimeError:  # the system gives no more threads
        send()
    else:
        thread.join()
    if failed:
        raise failed[0]


def _wait(answers: queue.SimpleQueue[bytes | None], timeout: float | None) -> bytes | None:
    """Wait for an answer, in steps, so that time in which this process was stopped, as by Ctrl-Z, hardly counts."""
    left = timeout or 0.0
    while left > _STEP:
        with contextlib.suppress(queue.Empty):
            return answers.get(timeout=_STEP)
        left -= _STEP
    return answers.get(timeout=None if timeout is None else left)
