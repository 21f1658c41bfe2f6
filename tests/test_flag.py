"""The event that an interrupt cannot spoil."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType
from typing import Any

import pytest

from nblaunch.flag import Flag
from nblaunch.interrupts import MAX_WAIT_SLICE

LIMIT = 10.0


class _HandlerError(Exception):
    """What a handler of a signal raises."""


class _RaiseAt:
    """Raise before the step of the interpreter with this number, as a signal handler may."""

    def __init__(self, step: int) -> None:
        self.left = step

    def __call__(self, frame: FrameType, kind: str, _: Any) -> _RaiseAt:
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        if kind == "opcode":
            if self.left == 0:
                sys.settrace(None)
                raise _HandlerError
            self.left -= 1
        return self


def _interrupted(step: int, function: Any) -> bool:
    """Call a function with an exception at one step; tell whether it had so many steps."""
    before = sys.gettrace()
    try:
        sys.settrace(_RaiseAt(step))
        function()
    except _HandlerError:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize("name", ["wait", "set", "clear"])
def test_an_exception_at_any_step_leaves_a_flag_that_works(name: str) -> None:
    step = 0
    steps = True
    while steps:
        flag = Flag()
        call = (lambda flag=flag: flag.wait(0)) if name == "wait" else getattr(flag, name)
        steps = _interrupted(step, call)
        flag.clear()
        heard: list[bool] = []
        other = threading.Thread(target=lambda flag=flag, heard=heard: heard.append(flag.wait(LIMIT)), daemon=True)
        other.start()
        setter = threading.Thread(target=flag.set, daemon=True)
        setter.start()
        setter.join(LIMIT)
        other.join(LIMIT)
        assert heard == [True], f"an exception before step {step} of {name}"
        assert flag.is_set()
        step += 1
    assert step > 5


def test_all_who_wait_are_woken() -> None:
    flag = Flag()
    heard: list[bool] = []
    threads = [threading.Thread(target=lambda: heard.append(flag.wait())) for _ in range(20)]
    for thread in threads:
        thread.start()
    flag.set()
    for thread in threads:
        thread.join()
    assert heard == [True] * 20


def test_a_wait_ends_at_its_time_and_says_so() -> None:
    flag = Flag()
    assert not flag.wait(0)
    assert not flag.wait(-1)
    assert not flag.wait(0.01)
    flag.set()
    assert flag.wait(0)
    flag.clear()
    assert not flag.is_set()
    assert not flag.wait(0)


def test_the_main_thread_hears_a_signal_that_comes_just_before_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    class Heard(Exception):
        pass

    def hear(number: int, frame: object) -> None:
        raise Heard

    class Lock:
        """The signal comes when nothing looks for it any more, until this ends, as the system's own wait does."""

        def __init__(self) -> None:
            self._acquired = False

        def acquire(self, timeout: float = -1) -> bool:
            if not self._acquired:
                self._acquired = True
                return True
            assert 0 <= timeout <= MAX_WAIT_SLICE
            signal.raise_signal(signal.SIGUSR1)
            return False

    before = signal.signal(signal.SIGUSR1, hear)
    try:
        monkeypatch.setattr(threading, "Lock", Lock)
        with pytest.raises(Heard):
            Flag().wait()
    finally:
        signal.signal(signal.SIGUSR1, before)
