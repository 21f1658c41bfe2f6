"""Where a person answers: the notebook's input box, or the terminal. All of ipykernel's private parts about that.

A box can be left without an answer, because a rank may go while its question stands there. ipykernel's own cannot: it
waits for the page alone. So the request itself is made here, by the one method that both kinds of question end in.
"""

from __future__ import annotations

import builtins
import contextlib
import getpass
import logging
import select
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol

__all__ = ["Box", "NoInput", "find_box", "in_kernel", "in_terminal", "tell"]

logger: logging.Logger = logging.getLogger(__name__)

# Seconds between two looks whether the question still stands; ipykernel looks at its socket every 0.01 s.
_PERIOD = 0.05


class Box(Protocol):
    """Somebody can be asked here, by the main thread."""

    def ask(self, prompt: str, *, hidden: bool, withdrawn: Callable[[], bool]) -> str | None:
        """Ask for a line.

        Parameters
        ----------
        prompt : str
            What stands before the answer.
        hidden : bool
            Whether the answer is a secret.
        withdrawn : callable
            Tells that nobody waits for the answer any more.

        Returns
        -------
        str or None
            The line, or None if the question was withdrawn.

        Raises
        ------
        EOFError
            If whoever was asked ended the input.
        """


def tell(text: str) -> None:
    """Write to whoever is asked."""
    with contextlib.suppress(ValueError, OSError):  # a closed stream: there is nobody to tell
        sys.stdout.write(text)
        sys.stdout.flush()


class NoInput:
    """Nobody can be asked here.

    Attributes
    ----------
    why : str
        The reason, as a clause.
    executed : bool
        Whether a program executes the notebook, in which nobody looks at a page.
    """

    def __init__(self, why: str, *, executed: bool = False) -> None:
        self.why = why
        self.executed = executed


def find_box() -> Box | NoInput:
    """Return where whoever runs the present cell or program can be asked."""
    if threading.current_thread() is not threading.main_thread():
        return NoInput("only the main thread can ask, and the ranks were launched from another one")
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    kernel: Any = getattr(shell, "kernel", None)
    if kernel is not None:
        # private: what the frontend said about itself when it sent the cell
        if getattr(kernel, "_allow_stdin", True):
            return _KernelBox(kernel)
        return NoInput(
            "this notebook is executed by a program that has no input box (nbclient, nbconvert, papermill, a server "
            "that executes cells by itself, and the like)",
            executed=_is_cell(kernel),
        )
    try:
        if sys.stdin.isatty():
            return _TerminalBox()
    except (AttributeError, OSError, ValueError):
        logger.debug("this program has no standard input")
    return NoInput("this program has no terminal to ask in")


def _is_cell(kernel: Any) -> bool:
    """Tell whether a cell is what runs; otherwise it is a click on a widget, which comes from a page."""
    try:
        kind = kernel.get_parent("shell")["header"]["msg_type"]
    except (AttributeError, KeyError, TypeError):
        return True
    return bool(kind == "execute_request")


def in_kernel() -> bool:
    """Tell whether this is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


def in_terminal() -> bool:
    """Tell whether this program is operated from a terminal, where Ctrl-C interrupts."""
    if in_kernel():
        return False
    try:
        return sys.stdin.isatty()
    except (AttributeError, OSError, ValueError):
        return False


# Requests that were left: a page may still answer them, and that answer belongs to no other question.
_LEFT: deque[str] = deque(maxlen=1000)


class _Withdrawn(Exception):
    """The question does not stand any more."""


class _KernelBox:
    """The input box under a cell."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel

    def ask(self, prompt: str, *, hidden: bool, withdrawn: Callable[[], bool]) -> str | None:
        """See `Box`."""
        kernel = self._kernel
        if not callable(getattr(kernel, "raw_input", None)):
            return _ask_as_cells_do(prompt, hidden=hidden)

        def request(prompt: str, ident: Any, parent: Any, password: bool = False) -> str:
            return self._request(prompt, ident, parent, password, withdrawn)

        if callable(getattr(kernel, "_input_request", None)):
            kernel._input_request = request
        try:
            return str((kernel.getpass if hidden else kernel.raw_input)(prompt))
        except _Withdrawn:
            return None
        finally:
            vars(kernel).pop("_input_request", None)

    def _request(self, prompt: str, ident: Any, parent: Any, password: bool, withdrawn: Callable[[], bool]) -> str:
        """Do what ipykernel's method of this name does, and look now and then whether the question still stands."""
        import zmq

        kernel = self._kernel
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        with contextlib.suppress(zmq.Again):
            while True:
                kernel.stdin_socket.recv_multipart(zmq.NOBLOCK)  # answers to earlier questions
        content = {"prompt": prompt, "password": password}
        sent = kernel.session.send(kernel.stdin_socket, "input_request", content, parent, ident=ident)
        request = str(sent["header"]["msg_id"])
        answered = False
        try:
            while not withdrawn():
                if not zmq.select([kernel.stdin_socket], [], [], _PERIOD)[0]:
                    continue
                try:
                    _, reply = kernel.session.recv(kernel.stdin_socket)
                    value = str(reply["content"]["value"])
                    if reply["parent_header"].get("msg_id") in _LEFT:
                        continue
                except (KeyError, TypeError, ValueError, AttributeError):
                    logger.warning("a frontend answered a question with what is no answer")
                    continue
                answered = True
                if value == "\x04":
                    raise EOFError("EOF when reading a line")
                return value
        finally:
            if not answered:
                _LEFT.append(request)
        raise _Withdrawn


def _ask_as_cells_do(prompt: str, *, hidden: bool) -> str:
    """Ask in a kernel that is not ipykernel: xeus-python, for example, has put functions of its own over Python's.

    Such a question stays until somebody answers it.
    """
    try:
        return str((getpass.getpass if hidden else builtins.input)(prompt))
    except EOFError:
        raise
    except Exception as error:  # xeus-python: a RuntimeError if the frontend has no box
        tell(f"{prompt}\nNobody can answer that here: {error}. Let the ranks use a variable instead.\n")
        raise EOFError("EOF when reading a line") from error


class _TerminalBox:
    """The terminal of this program."""

    def ask(self, prompt: str, *, hidden: bool, withdrawn: Callable[[], bool]) -> str | None:
        """See `Box`."""
        # before the prompt: from then on somebody types
        with _unseen() if hidden else contextlib.nullcontext():
            sys.stdout.write(prompt)
            sys.stdout.flush()
            while not select.select([sys.stdin], [], [], _PERIOD)[0]:
                if withdrawn():
                    sys.stdout.write("\n")
                    return None
            line = sys.stdin.readline()
        if not line:
            raise EOFError("EOF when reading a line")
        return line.removesuffix("\n")


@contextlib.contextmanager
def _unseen() -> Iterator[None]:
    """Have the terminal not show what is typed."""
    import termios

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    quiet = list(before)
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(descriptor, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        sys.stdout.write("\n")
        sys.stdout.flush()
