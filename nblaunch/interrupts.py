"""Interrupts that would be lost, or heard late; and Ctrl-Z, which stops the ranks too."""

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

# Seconds that the main thread waits at once: an interrupt that comes just before is heard only when a wait ends.
MAX_WAIT_SLICE = 0.5
# Seconds between two looks at whether the main thread has left the finalizer.
_LOOK_AGAIN = 0.001


@contextlib.contextmanager
def lost_interrupts_repeated() -> Iterator[None]:
    """Have an interrupt come once more if it hit a finalizer, whose exceptions are printed and go nowhere else.

    The main thread runs finalizers (``__del__``, callbacks of weak references) between any two steps; an interrupt that
    happens to come meanwhile is raised in there, and reaches ``sys.unraisablehook`` instead of whoever waits.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # interrupts are the main thread's
        return
    before = sys.unraisablehook

    def hook(lost: sys.UnraisableHookArgs, /) -> None:
        if issubclass(lost.exc_type, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            # by another thread and later, or it would be raised in here; if it hits a finalizer again, it is repeated
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
        # not if somebody has put a hook of theirs before it meanwhile
        if sys.unraisablehook is hook:
            sys.unraisablehook = before


@contextlib.contextmanager
def stopping_together(hold: Callable[[], None], resume: Callable[[], None]) -> Iterator[None]:
    """Have Ctrl-Z (SIGTSTP) stop others before it stops this program, and ``fg`` or ``bg`` set them going after it.

    Whatever handler the program has for SIGTSTP is called between the two, and is back afterwards. One Ctrl-Z after the
    other, as of somebody who is impatient, stops the program once; one that comes when it was set going stops it again.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python installs handlers in the main thread only
        return
    before = signal.getsignal(signal.SIGTSTP)
    if before is None or before == signal.SIG_IGN:
        yield  # it cannot be put back, or nobody is to stop
        return
    process = os.getpid()
    busy = again = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal busy, again
        if os.getpid() != process:  # a copy of this program, whose others these are not
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
        # not if the program has installed another one meanwhile
        if signal.getsignal(signal.SIGTSTP) is stop:
            signal.signal(signal.SIGTSTP, before)


def _stop_as_before(before: Any, number: int, frame: FrameType | None) -> None:
    """Do what the program would do of a signal that stops it, if nobody else had a handler for that."""
    if callable(before):
        before(number, frame)
        return
    present = signal.signal(number, signal.SIG_DFL)
    try:
        signal.raise_signal(number)  # returns when somebody continues this program
    finally:
        signal.signal(number, present)


def _interrupt_main_thread(hook: CodeType) -> None:
    """Interrupt the main thread when it has returned from this hook, and so from the finalizer before it."""
    main = threading.main_thread().ident
    assert main is not None
    while any(frame.f_code is hook for frame, _ in walk_stack(sys._current_frames().get(main))):
        time.sleep(_LOOK_AGAIN)
    signal.pthread_kill(main, signal.SIGINT)
