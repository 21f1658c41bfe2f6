"""Turning the signals that would end this process into an exception while it has ranks to end.

A program that launched ranks and is told to terminate has to end them first. While at least one user holds
the handlers, such a signal raises `SignalException` in the main thread, so that ``finally`` blocks run.
Afterwards the program's own handlers are back in place. In a Jupyter kernel nothing is installed: there,
signals belong to the user.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, cast

from nblaunch.exports import exported_by

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

    from typing_extensions import Self

    _Disposition = Callable[[int, FrameType | None], Any] | int | None

__all__ = ["TERMINATION", "SignalException", "TerminationHandlers", "TerminationHold"]

logger: logging.Logger = logging.getLogger(__name__)

_VARIABLE = "TORCHELASTIC_SIGNALS_TO_HANDLE"
_DEFAULT_SIGNALS = "SIGTERM,SIGINT,SIGHUP,SIGQUIT"


@exported_by("nblaunch.processes.api")
class SignalException(Exception):
    """The process was told to terminate: end the ranks, and then the program.

    Parameters
    ----------
    msg : str
        What happened.
    sigval : signal.Signals
        The signal.
    """

    def __init__(self, msg: str, sigval: signal.Signals) -> None:
        super().__init__(msg)
        self.sigval = sigval

    def __reduce__(self) -> tuple[type[SignalException], tuple[str, signal.Signals]]:
        return type(self), (str(self), self.sigval)


class TerminationHold:
    """One user's claim on the handlers, until it is released or no longer referred to."""

    def __init__(self, handlers: TerminationHandlers | None) -> None:
        self._handlers = handlers

    def release(self) -> None:
        """Give up the claim; harmless when repeated, and possible in any thread."""
        handlers, self._handlers = self._handlers, None
        if handlers is not None:
            handlers._release(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.release()


class TerminationHandlers:
    """The handlers of this process, installed while somebody holds them.

    The signals are SIGTERM, SIGINT, SIGHUP and SIGQUIT, or those that the environment variable
    ``TORCHELASTIC_SIGNALS_TO_HANDLE`` names, with commas between them.

    Examples
    --------
    >>> handlers = TerminationHandlers()
    >>> before = signal.getsignal(signal.SIGTERM)
    >>> with handlers.acquire():
    ...     try:
    ...         signal.raise_signal(signal.SIGTERM)
    ...     except SignalException as error:
    ...         print(error.sigval.name)
    SIGTERM
    >>> signal.getsignal(signal.SIGTERM) == before
    True
    """

    def __init__(self) -> None:
        # Weak, because the exception can come between the end of `acquire` and the assignment of what it
        # returns.
        self._holds: weakref.WeakSet[TerminationHold] = weakref.WeakSet()
        # Touched in the main thread only, where Python runs handlers too: no lock, on which a handler might
        # wait for the very code that it interrupts.
        self._installed: dict[signal.Signals, _Handler] = {}
        # What the parent holds, it holds for itself: a forked child is to end when it is told to.
        os.register_at_fork(after_in_child=self._holds.clear)

    def acquire(self) -> TerminationHold:
        """Install the handlers unless they are, and keep them until the returned hold is released.

        Outside the main thread, where Python cannot install handlers, this warns in the log and does nothing;
        in a Jupyter kernel it does nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            logger.warning(
                "signals are not handled for processes that are started in thread %s, because Python "
                "installs handlers in the main thread only: no SignalException is raised when a signal ends "
                "this program",
                threading.current_thread().name,
            )
            return TerminationHold(None)
        if _in_kernel():
            return TerminationHold(None)
        if not self._holds:
            self._put_back()  # released in another thread, or forgotten
        hold = TerminationHold(self)
        self._holds.add(hold)
        try:
            for signum in _wanted_signals():
                self._install(signum)
        except BaseException:  # one of these signals, already
            hold.release()
            raise
        return hold

    def _install(self, signum: signal.Signals) -> None:
        old = signal.getsignal(signum)
        if old is None:
            # Python cannot put such a handler back, and it may be vital to whoever embeds Python.
            logger.warning("%s is left to its handler, which was not installed from Python", signum.name)
        elif old == signal.SIG_IGN and signum == signal.SIGHUP and _VARIABLE not in os.environ:
            return  # whoever ignores it, as nohup does, wants this program to go on
        elif self._installed.get(signum) is not old:
            handler = _Handler(old, self._holds)
            self._installed[signum] = handler
            try:
                signal.signal(signum, handler)
            except (OSError, ValueError) as error:  # SIGKILL; a subinterpreter
                del self._installed[signum]
                logger.warning("%s is not handled: %s", signum.name, error)

    def _release(self, hold: TerminationHold) -> None:
        self._holds.discard(hold)
        # In another thread it is left to the handlers to notice that nobody holds them.
        if not self._holds and threading.current_thread() is threading.main_thread():
            self._put_back()

    def _put_back(self) -> None:
        while self._installed:
            signum, handler = self._installed.popitem()
            current: object = signal.getsignal(signum)
            if current is handler:
                signal.signal(signum, handler.old)


class _Handler:
    """What is installed for one signal, and what was before.

    One object for each time a signal is taken over: a handler that the program installs later may call this
    one, and what it gets must not lead back to itself.
    """

    def __init__(self, old: _Disposition, holds: weakref.WeakSet[TerminationHold]) -> None:
        self.old = old
        self._holds = holds

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        sigval = signal.Signals(signum)
        if self._holds:
            raise SignalException(f"Process {os.getpid()} got signal: {sigval}", sigval=sigval)
        current = signal.getsignal(signum)
        installed = cast("object", current) is self
        if installed:
            signal.signal(signum, self.old)
        if callable(self.old):
            self.old(signum, frame)
        elif self.old == signal.SIG_DFL:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
            if not installed:  # called by a handler of the program's own, and the default was to go on
                signal.signal(signum, current)


def _wanted_signals() -> list[signal.Signals]:
    given = os.environ.get(_VARIABLE, _DEFAULT_SIGNALS)
    names = [name.strip() for name in given.split(",") if name.strip()]
    for name in names:
        if name not in signal.Signals.__members__:
            logger.warning(
                "%s=%s names %r, which is no signal here and is left out: write names such as %s",
                _VARIABLE,
                given,
                name,
                _DEFAULT_SIGNALS,
            )
    return [signal.Signals[name] for name in names if name in signal.Signals.__members__]


def _in_kernel() -> bool:
    # Looked up rather than imported: who runs in a kernel has this module.
    module = sys.modules.get("ipykernel.kernelapp")
    return module is not None and bool(module.IPKernelApp.initialized())


TERMINATION = TerminationHandlers()
"""The handlers of this process."""
