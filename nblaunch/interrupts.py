"""Interrupts that Python would lose or handle late; and Ctrl-Z, which has to stop the ranks too."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from traceback import walk_stack
from types import CodeType, FrameType
from typing import Any

__all__ = ["MAX_WAIT_SLICE", "lost_interrupts_repeated", "stopping_together"]

# Seconds of one wait of the main thread. An interrupt that comes just before a wait is handled only when it ends.
MAX_WAIT_SLICE = 0.5
# Seconds between two looks at whether the main thread has left the finalizer.
_FINALIZER_POLL = 0.001


@contextlib.contextmanager
def lost_interrupts_repeated() -> Iterator[None]:
    """Repeat each interrupt that was raised in a finalizer, where Python only prints exceptions.

    The main thread may run finalizers (``__del__``, callbacks of weak references) between any two steps. An interrupt
    that comes meanwhile is raised in the finalizer, and reaches ``sys.unraisablehook`` instead of the code that waits.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python raises interrupts in the main thread only
        return
    before = sys.unraisablehook

    def hook(lost: sys.UnraisableHookArgs, /) -> None:
        if issubclass(lost.exc_type, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            # Another thread sends it when this hook has returned: sent now, it would be raised in here.
            with contextlib.suppress(RuntimeError):  # no more threads
                threading.Thread(
                    target=_interrupt_main_thread, args=(hook.__code__,), name="nblaunch-interrupt", daemon=True
                ).start()
                return
        before(lost)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        # Other code may have installed a hook of its own meanwhile, which stays.
        if sys.unraisablehook is hook:
            sys.unraisablehook = before


@contextlib.contextmanager
def stopping_together(hold: Callable[[], None], resume: Callable[[], None]) -> Iterator[None]:
    """On Ctrl-Z (SIGTSTP) call `hold`, stop this program, and call `resume` when ``fg`` or ``bg`` continues it.

    A handler that the program has for SIGTSTP itself is called in between, and is restored at the end. Further Ctrl-Z
    before the program stops count as one with the first; one that comes after it has continued stops it again.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python installs handlers in the main thread only
        return
    before = signal.getsignal(signal.SIGTSTP)
    if before is None or before == signal.SIG_IGN:
        yield  # the handler is one of C code, which Python cannot restore; or the program ignores Ctrl-Z
        return
    process = os.getpid()
    busy = again = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal busy, again
        if os.getpid() != process:  # a fork of this program: `hold` is not for it
            _stop_as_before(before, number, frame)
            return
        if busy:
            again = True
            return
        busy = again = True
        try:
            while again:
                try:
                    hold()
                    again = False
                    _stop_as_before(before, number, frame)
                finally:
                    resume()
        finally:
            busy = False

    try:
        signal.signal(signal.SIGTSTP, stop)
        yield
    finally:
        # The program may have installed another handler meanwhile, which stays.
        if signal.getsignal(signal.SIGTSTP) is stop:
            signal.signal(signal.SIGTSTP, before)


def _stop_as_before(before: Any, number: int, frame: FrameType | None) -> None:
    """Do what the program would have done on the signal: call its handler `before`, or stop."""
    if callable(before):
        before(number, frame)
        return
    present = signal.signal(number, signal.SIG_DFL)
    try:
        signal.raise_signal(number)  # returns when somebody continues this program
    finally:
        signal.signal(number, present)


def _interrupt_main_thread(hook: CodeType) -> None:
    """Interrupt the main thread as soon as it has returned from the hook with this code, and so from the finalizer."""
    main = threading.main_thread().ident
    assert main is not None
    while any(frame.f_code is hook for frame, _ in walk_stack(sys._current_frames().get(main))):
        time.sleep(_FINALIZER_POLL)
    signal.pthread_kill(main, signal.SIGINT)
