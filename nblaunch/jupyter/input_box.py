"""`Box`: asks a person for a line, in the notebook's input box or in the terminal, by private parts of ipykernel.

A question can be withdrawn, because the rank that asks may end. ipykernel's own `input` waits for the page until it
answers. So its method `_input_request`, which `input` and `getpass` both use, is replaced while a question is open.
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

__all__ = ["Box", "NoInput", "current_kernel", "current_shell", "find_box", "in_kernel", "in_terminal", "tell"]

logger: logging.Logger = logging.getLogger(__name__)

# Seconds between two checks whether the question was withdrawn; ipykernel itself checks its socket every 0.01 s.
_CHECK_INTERVAL = 0.05


class Box(Protocol):
    """A place where somebody can be asked, by the main thread only."""

    def ask(self, prompt: str, *, hidden: bool, withdrawn: Callable[[], bool]) -> str | None:
        """Ask for a line.

        Parameters
        ----------
        prompt : str
            The text before the answer.
        hidden : bool
            Whether the answer is a secret, which is not shown while it is typed.
        withdrawn : callable
            Returns whether nobody waits for the answer any more.

        Returns
        -------
        str or None
            The line, or None if the question was withdrawn.

        Raises
        ------
        EOFError
            If the person has ended the input, for example with Ctrl-D.
        """


def tell(text: str) -> None:
    """Print a text where questions are asked: under the cell, or in the terminal."""
    with contextlib.suppress(ValueError, OSError):  # the stream was closed, so nobody can read it
        sys.stdout.write(text)
        sys.stdout.flush()


class NoInput:
    """Nobody can be asked here.

    Attributes
    ----------
    why : str
        The reason, as a part of a sentence.
    executed : bool
        Whether a program executes the notebook, so that nobody looks at a page.
    """

    def __init__(self, why: str, *, executed: bool = False) -> None:
        self.why = why
        self.executed = executed


def find_box() -> Box | NoInput:
    """Return the place where whoever runs this cell or program can be asked."""
    if threading.current_thread() is not threading.main_thread():
        return NoInput("only the main thread can ask, and the ranks were launched from another one")
    kernel = current_kernel()
    if kernel is not None:
        # private in ipykernel: whether the frontend, when it sent the cell, said that it has an input box
        if getattr(kernel, "_allow_stdin", True):
            return _KernelBox(kernel)
        return NoInput(
            "this notebook is executed by a program that has no input box (nbclient, nbconvert, papermill, a server "
            "that executes cells by itself, and the like)",
            executed=_runs_cell(kernel),
        )
    return _TerminalBox() if in_terminal() else NoInput("this program has no terminal to ask in")


def _runs_cell(kernel: Any) -> bool:
    """Tell whether the kernel runs a cell, not the callback of a widget, which a page has sent."""
    try:
        kind = kernel.get_parent("shell")["header"]["msg_type"]
    except (AttributeError, KeyError, TypeError):
        return True
    return bool(kind == "execute_request")


def current_shell() -> Any:
    """Return the IPython shell of this process, or None."""
    return getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()


def current_kernel() -> Any:
    """Return the kernel of this process, or None."""
    return getattr(current_shell(), "kernel", None)


def in_kernel() -> bool:
    """Tell whether this is the kernel of a notebook, whose widgets appear on pages."""
    return current_kernel() is not None


def in_terminal() -> bool:
    """Tell whether this program is operated from a terminal, where Ctrl-C interrupts."""
    if in_kernel():
        return False
    try:
        return sys.stdin.isatty()
    except (AttributeError, OSError, ValueError):
        return False


# Ids of withdrawn requests. A page may still answer them, and such an answer must not be taken for another's.
_WITHDRAWN_REQUESTS: deque[str] = deque(maxlen=1000)


class _Withdrawn(Exception):
    """The question was withdrawn."""


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
        """Ask as ipykernel's `_input_request` does, and check at intervals whether the question was withdrawn."""
        import zmq

        kernel = self._kernel
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        with contextlib.suppress(zmq.Again):
            while True:
                kernel.stdin_socket.recv_multipart(zmq.NOBLOCK)  # discard answers to earlier questions
        content = {"prompt": prompt, "password": password}
        sent = kernel.session.send(kernel.stdin_socket, "input_request", content, parent, ident=ident)
        request = str(sent["header"]["msg_id"])
        answered = False
        try:
            while not withdrawn():
                if not zmq.select([kernel.stdin_socket], [], [], _CHECK_INTERVAL)[0]:
                    continue
                try:
                    _, reply = kernel.session.recv(kernel.stdin_socket)
                    value = str(reply["content"]["value"])
                    if reply["parent_header"].get("msg_id") in _WITHDRAWN_REQUESTS:
                        continue
                except (KeyError, TypeError, ValueError, AttributeError):
                    logger.warning("a frontend answered a question with a message that is not an answer")
                    continue
                answered = True
                if value == "\x04":
                    raise EOFError("EOF when reading a line")
                return value
        finally:
            if not answered:
                _WITHDRAWN_REQUESTS.append(request)
        raise _Withdrawn


def _ask_as_cells_do(prompt: str, *, hidden: bool) -> str:
    """Ask in a kernel that is not ipykernel, by its own `input` and `getpass`; for example in xeus-python.

    Such a question cannot be withdrawn.
    """
    try:
        return str((getpass.getpass if hidden else builtins.input)(prompt))
    except EOFError:
        raise
    except Exception as error:  # xeus-python raises RuntimeError if the frontend has no input box
        tell(f"{prompt}\nNobody can answer that here: {error}. Let the ranks use a variable instead.\n")
        raise EOFError("EOF when reading a line") from error


class _TerminalBox:
    """The terminal of this program."""

    def ask(self, prompt: str, *, hidden: bool, withdrawn: Callable[[], bool]) -> str | None:
        """See `Box`."""
        # before the prompt, because somebody may type as soon as they see it
        with _without_echo() if hidden else contextlib.nullcontext():
            sys.stdout.write(prompt)
            sys.stdout.flush()
            while not select.select([sys.stdin], [], [], _CHECK_INTERVAL)[0]:
                if withdrawn():
                    sys.stdout.write("\n")
                    return None
            line = sys.stdin.readline()
        if not line:
            raise EOFError("EOF when reading a line")
        return line.removesuffix("\n")


@contextlib.contextmanager
def _without_echo() -> Iterator[None]:
    """Keep the terminal from showing what is typed."""
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
