"""Signals are really delivered here, to programs of their own."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING

import pytest

from nblaunch.processes.elastic.termination import SignalException, TerminationHandlers

if TYPE_CHECKING:
    from collections.abc import Iterator

PRELUDE = """
import gc, logging, os, signal, sys, threading
from nblaunch.processes.elastic.termination import TERMINATION, SignalException
logging.basicConfig(format="%(message)s", stream=sys.stdout)

def send(sig=signal.SIGTERM):
    sys.stdout.flush()
    os.kill(os.getpid(), sig)

def elsewhere(function):
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()

def mine(signum, frame):
    print("mine", signal.Signals(signum).name)
"""
MINE = "mine SIGTERM"


def run(script: str, **env: str) -> tuple[list[str], int]:
    """Run a program; return the lines that it printed, and how it ended."""
    command = [sys.executable, "-c", PRELUDE + textwrap.dedent(script)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=os.environ | env, timeout=60)
    return done.stdout.splitlines(), done.returncode


def test_the_default_signals_raise_and_are_put_back() -> None:
    lines, code = run("""
        names = ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"]
        before = [signal.getsignal(signal.Signals[name]) for name in names]
        hold = TERMINATION.acquire()
        for name in names:
            try:
                send(signal.Signals[name])
            except SignalException as error:
                assert str(error) == f"Process {os.getpid()} got signal: {error.sigval}", error
                print(error.sigval.name)
        hold.release()
        assert [signal.getsignal(signal.Signals[name]) for name in names] == before
    """)
    assert (lines, code) == (["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"], 0)


def test_a_signal_from_another_process_interrupts_a_wait() -> None:
    script = """
        with TERMINATION.acquire():
            try:
                print("ready", flush=True)
                threading.Event().wait()
            except SignalException as error:
                print(error.sigval.name)
    """
    command = [sys.executable, "-c", PRELUDE + textwrap.dedent(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        program.send_signal(signal.SIGHUP)
        assert program.stdout.read() == "SIGHUP\n"
    assert program.returncode == 0


def test_the_handlers_stay_until_the_last_release() -> None:
    lines, code = run("""
        signal.signal(signal.SIGTERM, mine)
        first, second = TERMINATION.acquire(), TERMINATION.acquire()
        first.release()
        first.release()
        try:
            send()
        except SignalException:
            print("held")
        second.release()
        send()
    """)
    assert (lines, code) == (["held", MINE], 0)


def test_a_handler_that_the_program_installed_meanwhile_stays() -> None:
    lines, code = run("""
        with TERMINATION.acquire():
            signal.signal(signal.SIGTERM, mine)
        send()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    """)
    assert (lines, code) == ([MINE], 0)


def test_a_new_user_takes_over_from_a_handler_installed_meanwhile_and_gives_it_back() -> None:
    lines, code = run("""
        first = TERMINATION.acquire()
        signal.signal(signal.SIGTERM, mine)
        with TERMINATION.acquire():
            try:
                send()
            except SignalException:
                print("held")
        first.release()
        send()
    """)
    assert (lines, code) == (["held", MINE], 0)


def test_ignored_signals_are_ignored_again() -> None:
    lines, code = run("""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        hold = TERMINATION.acquire()
        elsewhere(hold.release)
        send()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        hold = TERMINATION.acquire()
        hold.release()
        send()
        print("alive")
    """)
    assert (lines, code) == (["alive"], 0)


def test_released_in_another_thread_the_signal_goes_to_the_old_handler() -> None:
    lines, code = run("""
        signal.signal(signal.SIGTERM, mine)
        hold = TERMINATION.acquire()
        elsewhere(hold.release)
        assert signal.getsignal(signal.SIGTERM) is not mine
        send()
        assert signal.getsignal(signal.SIGTERM) is mine
        send()
    """)
    assert (lines, code) == ([MINE, MINE], 0)


def test_released_in_another_thread_the_default_ends_the_program() -> None:
    lines, code = run("""
        hold = TERMINATION.acquire()
        elsewhere(hold.release)
        send()
        print("still alive")
    """)
    assert (lines, code) == ([], -signal.SIGTERM)


def test_released_in_another_thread_an_interrupt_is_a_keyboard_interrupt() -> None:
    lines, code = run("""
        hold = TERMINATION.acquire()
        elsewhere(hold.release)
        try:
            send(signal.SIGINT)
        except KeyboardInterrupt:
            print("interrupted")
    """)
    assert (lines, code) == (["interrupted"], 0)


def test_acquired_again_after_a_release_in_another_thread() -> None:
    lines, code = run("""
        signal.signal(signal.SIGTERM, mine)
        hold = TERMINATION.acquire()
        elsewhere(hold.release)
        with TERMINATION.acquire():
            try:
                send()
            except SignalException:
                print("held")
        assert signal.getsignal(signal.SIGTERM) is mine
    """)
    assert (lines, code) == (["held"], 0)


def test_a_handler_that_calls_ours_does_not_go_round_in_circles() -> None:
    lines, code = run("""
        signal.signal(signal.SIGTERM, mine)
        hold = TERMINATION.acquire()
        ours = signal.getsignal(signal.SIGTERM)

        def chained(signum, frame):
            print("chained")
            ours(signum, frame)

        signal.signal(signal.SIGTERM, chained)
        try:
            send()
        except SignalException:
            print("held")
        second = TERMINATION.acquire()
        hold.release()
        second.release()
        assert signal.getsignal(signal.SIGTERM) is chained
        send()
    """)
    assert (lines, code) == (["chained", "held", "chained", MINE], 0)


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", -signal.SIGTERM), ("SIGWINCH", 0)])
def test_a_handler_that_calls_ours_gets_the_default_action(name: str, code: int) -> None:
    lines, ended = run(
        f"""
        number = signal.{name}
        hold = TERMINATION.acquire()
        ours = signal.getsignal(number)

        def chained(signum, frame):
            print("chained", flush=True)
            ours(signum, frame)

        signal.signal(number, chained)
        hold.release()
        send(number)
        assert signal.getsignal(number) is chained
        """,
        TORCHELASTIC_SIGNALS_TO_HANDLE=name,
    )
    assert (lines, ended) == (["chained"], code)


def test_a_hold_that_is_lost_counts_no_longer() -> None:
    lines, code = run("""
        signal.signal(signal.SIGTERM, mine)
        hold = TERMINATION.acquire()
        del hold
        gc.collect()
        send()
        assert signal.getsignal(signal.SIGTERM) is mine
    """)
    assert (lines, code) == ([MINE], 0)


def test_a_forked_child_ends_by_the_signal() -> None:
    lines, code = run("""
        with TERMINATION.acquire():
            child = os.fork()
            if child == 0:
                send()
                os._exit(3)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            try:
                send()
            except SignalException:
                print("the parent holds on")
    """)
    assert (lines, code) == (["-15", "the parent holds on"], 0)


def test_a_forked_child_can_hold_for_itself() -> None:
    lines, code = run("""
        hold = TERMINATION.acquire()
        child = os.fork()
        if child == 0:
            hold.release()
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
            try:
                with TERMINATION.acquire():
                    send()
            except SignalException as error:
                assert str(os.getpid()) in str(error)
                os._exit(3)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """)
    assert (lines, code) == (["3"], 0)


def test_other_signals_can_be_chosen() -> None:
    lines, code = run(
        """
        signal.signal(signal.SIGTERM, mine)
        with TERMINATION.acquire():
            send()
            try:
                send(signal.SIGUSR1)
            except SignalException as error:
                print(error.sigval.name)
        assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
        """,
        TORCHELASTIC_SIGNALS_TO_HANDLE=" SIGUSR1 ,SIGUSR2,",
    )
    assert (lines, code) == ([MINE, "SIGUSR1"], 0)


def test_no_signals_can_be_chosen() -> None:
    lines, code = run(
        """
        with TERMINATION.acquire():
            send()
        """,
        TORCHELASTIC_SIGNALS_TO_HANDLE="",
    )
    assert (lines, code) == ([], -signal.SIGTERM)


def test_names_that_are_no_signals_are_logged_and_left_out() -> None:
    lines, code = run(
        """
        with TERMINATION.acquire():
            try:
                send()
            except SignalException as error:
                print(error.sigval.name)
        """,
        TORCHELASTIC_SIGNALS_TO_HANDLE="SIGNOPE,SIG_DFL,SIGKILL,SIGTERM",
    )
    variable = "TORCHELASTIC_SIGNALS_TO_HANDLE=SIGNOPE,SIG_DFL,SIGKILL,SIGTERM"
    advice = "which is no signal here and is left out: write names such as SIGTERM,SIGINT,SIGHUP,SIGQUIT"
    assert lines == [
        f"{variable} names 'SIGNOPE', {advice}",
        f"{variable} names 'SIG_DFL', {advice}",
        "SIGKILL is not handled: [Errno 22] Invalid argument",
        "SIGTERM",
    ]
    assert code == 0


def test_outside_the_main_thread_nothing_is_installed() -> None:
    lines, code = run("""
        holds = []
        thread = threading.Thread(target=lambda: holds.append(TERMINATION.acquire()), name="worker")
        thread.start()
        thread.join()
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        holds[0].release()
    """)
    (line,) = lines
    assert line == (
        "signals are not handled for processes that are started in thread worker, because Python installs "
        "handlers in the main thread only: no SignalException is raised when a signal ends this program"
    )
    assert code == 0


@pytest.mark.parametrize("initialized", [True, False])
def test_in_a_kernel_nothing_is_installed(initialized: bool) -> None:
    lines, code = run(f"""
        import ipykernel.kernelapp
        if {initialized}:
            ipykernel.kernelapp.IPKernelApp.instance()
        with TERMINATION.acquire():
            print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
    """)
    assert (lines[-1], code) == (str(initialized), 0)


@pytest.fixture
def handlers() -> Iterator[TerminationHandlers]:
    before = {name: signal.getsignal(signal.Signals[name]) for name in ("SIGTERM", "SIGHUP")}
    yield TerminationHandlers()
    assert {name: signal.getsignal(signal.Signals[name]) for name in before} == before


def test_a_handler_that_was_not_installed_from_python_is_left_alone(
    handlers: TerminationHandlers, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # getsignal answers None only for a handler that was there before Python: that needs a host program in C.
    monkeypatch.setenv("TORCHELASTIC_SIGNALS_TO_HANDLE", "SIGTERM")
    real = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(signal, "getsignal", lambda signum: None)
        hold = handlers.acquire()
    assert signal.getsignal(signal.SIGTERM) is real
    hold.release()
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.WARNING, "SIGTERM is left to its handler, which was not installed from Python")
    ]


def test_a_signal_during_acquire_leaves_nothing_held(
    handlers: TerminationHandlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    install = signal.signal

    def interrupted(signum: int, handler: signal._HANDLER) -> signal._HANDLER:
        if signum == signal.SIGHUP and handler is not signal.SIG_DFL:
            signal.raise_signal(signal.SIGTERM)
        return install(signum, handler)

    monkeypatch.setenv("TORCHELASTIC_SIGNALS_TO_HANDLE", "SIGTERM,SIGHUP")
    monkeypatch.setattr(signal, "signal", interrupted)
    with pytest.raises(SignalException):
        handlers.acquire()


def test_release_is_harmless_from_any_thread(handlers: TerminationHandlers) -> None:
    hold = handlers.acquire()
    threads = [threading.Thread(target=hold.release) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    hold.release()
    handlers.acquire().release()


def test_the_exception_travels_between_processes() -> None:
    error = pickle.loads(pickle.dumps(SignalException("told to end", signal.SIGTERM)))
    assert (str(error), error.sigval) == ("told to end", signal.SIGTERM)
