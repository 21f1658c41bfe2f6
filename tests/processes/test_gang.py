"""How gangs start, what wakes them, and that nothing outlives them."""

from __future__ import annotations

import logging
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from nblaunch.events import Ended, Ending, Event, Exited, GettingReady, Sampled, Stack, Started, Usage
from nblaunch.processes.child.rank_spec import Descriptors, RankSpec
from nblaunch.processes.child.spare import Description
from nblaunch.processes.gang.escalation import KILL, Step, escalation
from nblaunch.processes.gang.gang import Gang
from nblaunch.processes.gang.orders import Orders
from nblaunch.processes.gang.policy import Policy
from nblaunch.processes.gang.supervisor import Supervisor
from nblaunch.processes.starting.base import PARENT_ONLY_FDS, Preparation
from nblaunch.processes.starting.direct import Program
from nblaunch.processes.starting.forkserver_client import Forkserver
from nblaunch.processes.starting.zygotes import Zygote
from nblaunch.processes.watching.periodic_checks import PeriodicCheck
from nblaunch.processes.watching.stack_requests import StackRequests
from tests.processes import targets
from tests.processes.conftest import Launch
from tests.processes.targets import LIMIT, METHODS, Announcements, Gate, assert_gone
from tests.processes.test_start_processes import result_of

ROOT = str(Path(__file__).parents[2])


# ---- nothing is polled


class SpiedSelector(selectors.DefaultSelector):
    timeouts: list[float | None]

    def select(self, timeout: float | None = None) -> Any:
        self.timeouts.append(timeout)
        return super().select(timeout)


@pytest.fixture
def timeouts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float | None]]:
    seen: list[float | None] = []
    monkeypatch.setattr(SpiedSelector, "timeouts", seen, raising=False)
    monkeypatch.setattr(selectors, "DefaultSelector", SpiedSelector)
    yield seen


def test_a_gang_sleeps_until_something_happens(launch: Launch, method: str, timeouts: list[float | None]) -> None:
    context = launch(targets.value, {0: (1,), 1: (2,)}, method)
    result = context.wait(period=60)
    assert result is not None
    assert result.return_values == {0: 1, 1: 2}
    assert timeouts
    assert set(timeouts) == {None}


def test_after_a_failure_it_sleeps_for_the_settle_window_at_most(
    launch: Launch, timeouts: list[float | None], announcements: Announcements
) -> None:
    context = launch(targets.announce_and_block, {0: (announcements.path,), 1: (announcements.path,)})
    announcements.pids(2)
    assert set(timeouts) == {None}
    os.kill(context.pids()[0], signal.SIGKILL)
    assert context.wait(LIMIT, period=60) is not None
    timed = [timeout for timeout in timeouts if timeout is not None]
    assert timed[0] <= 0.2
    # then only the grace of the other rank
    assert all(timeout <= 0.2 or 20 < timeout <= 30 for timeout in timed)


def test_a_shorter_period_shortens_the_window(
    launch: Launch, timeouts: list[float | None], announcements: Announcements
) -> None:
    context = launch(targets.announce_and_block, {0: (announcements.path,), 1: (announcements.path,)})
    announcements.pids(2)
    context.wait(0, period=0)
    os.kill(context.pids()[0], signal.SIGKILL)
    assert context.wait(LIMIT, period=0) is not None
    assert [timeout for timeout in timeouts if timeout is not None and 0 < timeout <= 0.2] == []


# ---- families


@pytest.mark.parametrize("then", ["return", "raise", "SIGKILL", "os._exit(0)", "close"])
def test_children_of_ranks_go_with_them(
    launch: Launch, method: str, announcements: Announcements, tmp_path: Path, then: str
) -> None:
    # a rank that leaves ends the others, which shall have children by then
    gate = str(tmp_path / "gate")
    os.mkfifo(gate)
    args = dict.fromkeys(range(2), (announcements.path, False, "block" if then == "close" else then, gate))
    context = launch(targets.family, args, method)
    pids = announcements.pids(2)
    if then == "close":
        context.close()
        assert result_of(context).is_failed()
    else:
        # until both have come through it
        with open(gate, "wb"):
            assert result_of(context).is_failed() == (then != "return")
    assert_gone(pids)


def test_children_of_programs_go_with_them(launch: Launch, announcements: Announcements) -> None:
    script = f"sleep 1000 & echo $$ $! > {announcements.path}; [ $1 = stay ] || exit $1; sleep 1000"
    for argument in ("0", "3", "stay"):
        context = launch("sh", {0: ("-c", script, "sh", argument)})
        pids = announcements.pids(1)
        if argument == "stay":
            context.close()
        result_of(context)
        assert_gone(pids)


def test_children_in_sessions_of_their_own_are_closed_too(
    launch: Launch, method: str, announcements: Announcements
) -> None:
    context = launch(targets.family, {0: (announcements.path, True, "block")}, method)
    pids = announcements.pids(1)
    context.close()
    assert_gone(pids)


@pytest.mark.parametrize("method", ["forkserver", "zygote"])
def test_daemons_of_forkserver_ranks_are_ended_with_the_gang(
    launch: Launch, announcements: Announcements, method: str
) -> None:
    context = launch(targets.double_forked, {0: (announcements.path,)}, method)
    pids = announcements.pids(1)
    assert result_of(context).return_values == {0: None}
    assert_gone(pids)


@pytest.mark.parametrize("method", ["forkserver", "zygote"])
def test_ranks_go_with_the_helper(launch: Launch, announcements: Announcements, method: str) -> None:
    context = launch(targets.family, dict.fromkeys(range(2), (announcements.path, False, "block")), method)
    pids = announcements.pids(2)
    assert context._gang is not None
    helper = context._gang._supervisor._method
    assert isinstance(helper, Forkserver)
    assert helper._connection is not None
    os.kill(helper._connection.pid, signal.SIGKILL)
    result = result_of(context)
    assert {rank: failure.exitcode for rank, failure in result.failures.items()} == {0: -9, 1: -9}
    assert_gone(pids)


@pytest.mark.parametrize("method", ["forkserver", "zygote"])
def test_a_stopped_rank_goes_with_the_helper_too(launch: Launch, announcements: Announcements, method: str) -> None:
    # it cannot run the handler that would end it, as one that is stuck in C code cannot
    context = launch(targets.stop_oneself, {0: (announcements.path,)}, method)
    pids = announcements.pids(1)
    assert context._gang is not None
    helper = context._gang._supervisor._method
    assert isinstance(helper, Forkserver)
    assert helper._connection is not None
    os.kill(helper._connection.pid, signal.SIGKILL)
    assert result_of(context).failures[0].exitcode == -9
    assert_gone(pids)


@pytest.mark.parametrize("method", ["forkserver", "zygote"])
def test_a_helper_that_was_stopped_still_tells_of_ranks_that_are_ended(
    launch: Launch, announcements: Announcements, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    context = launch(targets.announce_and_block, dict.fromkeys(range(2), (announcements.path,)), method)
    pids = announcements.pids(2)
    assert context._gang is not None
    helper = context._gang._supervisor._method
    assert isinstance(helper, Forkserver)
    assert helper._connection is not None
    os.kill(helper._connection.pid, signal.SIGSTOP)
    context.close()
    assert_gone(pids)
    assert "did not go after SIGKILL" not in caplog.text


# ---- the end of the program

PROGRAM = """
import logging, os, signal, sys, threading
logging.getLogger("nblaunch.processes.elastic.contexts").disabled = True  # what it says of signals is another test's
sys.path.insert(0, {root!r})
from nblaunch.processes import DefaultLogsSpecs, SignalException, Std, start_processes
from tests.processes import targets

def launch(entrypoint=targets.family, args=({announcements!r}, False, "block"), count=2):
    specs = DefaultLogsSpecs(log_dir={log_dir!r}, redirects=Std.ALL)
    if {method!r} == "binary":
        entrypoint = "sh"
        args = ("-c", "sleep 1000 & echo $$ $! > {announcements}; wait")
    return start_processes(
        "rank", entrypoint, dict.fromkeys(range(count), args), {{rank: {{}} for rank in range(count)}}, specs,
        start_method="fork" if {method!r} == "binary" else {method!r},
    )
"""


@pytest.fixture
def program(
    tmp_path: Path, announcements: Announcements, request: pytest.FixtureRequest
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Run a script that launches ranks."""
    started: list[subprocess.Popen[str]] = []

    def run(method: str, script: str) -> subprocess.Popen[str]:
        (tmp_path / "logs").mkdir(exist_ok=True)
        prelude = PROGRAM.format(
            root=ROOT, announcements=announcements.path, log_dir=str(tmp_path / "logs"), method=method
        )
        process = subprocess.Popen(
            [sys.executable, "-c", prelude + script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def pids_of_ranks(process: subprocess.Popen[str], announcements: Announcements) -> list[int]:
    """Wait until two ranks run and the program has gone on; return the ranks and their children."""
    pids = announcements.pids(3)
    pids.remove(process.pid)
    assert len(pids) == 4
    return pids


WAYS = [*METHODS, "binary"]


@pytest.mark.parametrize("way", WAYS)
def test_a_killed_program_leaves_nothing(
    program: Callable[..., subprocess.Popen[str]], announcements: Announcements, way: str
) -> None:
    for _ in range(3):
        process = program(way, f"context = launch()\ntargets.announce({announcements.path!r})\ncontext.wait()\n")
        pids = pids_of_ranks(process, announcements)
        process.kill()
        process.wait()
        assert_gone(pids)


@pytest.mark.parametrize("way", WAYS)
def test_a_program_that_forked_does_not_keep_its_ranks_alive(
    program: Callable[..., subprocess.Popen[str]], announcements: Announcements, way: str
) -> None:
    process = program(
        way,
        "context = launch()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        f"    targets.announce_and_block({announcements.path!r})\n"
        "context.wait()\n",
    )
    lines = [announcements.next_line().split() for _ in range(3)]
    ranks = [int(pid) for line in lines if len(line) == 2 for pid in line]
    [child] = [int(line[0]) for line in lines if len(line) == 1]
    try:
        process.kill()
        process.wait()
        assert_gone(ranks)
    finally:
        os.kill(child, signal.SIGKILL)
        assert_gone([child])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("end", ["", "sys.exit(0)", "raise ValueError('end')", "del context"])
def test_a_program_that_just_ends_leaves_nothing(
    program: Callable[..., subprocess.Popen[str]], announcements: Announcements, way: str, end: str
) -> None:
    script = f"context = launch()\nopen({announcements.path + '.go'!r}).read()\n{end}\n"
    os.mkfifo(announcements.path + ".go")
    process = program(way, script)
    pids = announcements.pids(2)
    with open(announcements.path + ".go", "w"):
        pass
    out, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == (1 if "raise" in end else 0), out
    assert_gone(pids)
    assert ("ValueError: end" in out) == ("raise" in end)
    assert out.count("Traceback") == ("raise" in end), out


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_program_is_an_exception_in_wait(
    program: Callable[..., subprocess.Popen[str]], announcements: Announcements, way: str, number: signal.Signals
) -> None:
    process = program(
        way,
        "names = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT']\n"
        "handlers = lambda: [signal.getsignal(signal.Signals[name]) for name in names]\n"
        "before = handlers()\n"
        "context = launch()\n"
        "assert not set(handlers()) & set(before)\n"
        "try:\n"
        f"    targets.announce({announcements.path!r})\n"
        "    context.wait()\n"
        "except SignalException as error:\n"
        "    print(error.sigval.name)\n"
        "    context.close(error.sigval)\n"
        "assert handlers() == before\n"
        "print(sorted(failure.signal_name() for failure in context.wait().failures.values()))\n",
    )
    pids = pids_of_ranks(process, announcements)
    process.send_signal(number)
    out, _ = process.communicate(timeout=LIMIT)
    assert out == f"{number.name}\n{[number.name] * 2}\n"
    assert process.returncode == 0
    assert_gone(pids)


@pytest.mark.parametrize("way", [*METHODS, "binary"])
def test_old_handlers_are_back_after_every_end(launch: Launch, way: str, announcements: Announcements) -> None:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    before = [signal.getsignal(number) for number in numbers]

    def start(kind: str) -> Any:
        if way == "binary":
            script = {"value": "exit 0", "raise": "exit 1", "block": "sleep 1000"}[kind]
            return launch("sh", {0: ("-c", script)})
        return launch(targets.block if kind == "block" else targets.leave, {0: () if kind == "block" else (kind,)}, way)

    for kind in ("value", "raise", "block"):
        context = start(kind)
        assert all(signal.getsignal(number) not in before for number in numbers)
        if kind == "block":
            context.close()
        else:
            result_of(context)
        assert [signal.getsignal(number) for number in numbers] == before


def test_an_exception_in_wait_leaves_the_run_as_it_is(
    launch: Launch, announcements: Announcements, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = launch(targets.wait_at, {0: (gate.path,)})
    assert context._gang is not None
    original = context._gang.join

    def interrupted(timeout: float | None = None) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(context._gang, "join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        context.wait()
    monkeypatch.setattr(context._gang, "join", original)
    gate.open()
    assert result_of(context).return_values == {0: None}


# ---- starts that fail


def test_the_second_rank_does_not_start(launch: Launch, announcements: Announcements) -> None:
    envs = {0: {}, 1: {"LONG": "x" * 3_000_000}}
    with pytest.raises(OSError, match="too large for the system; the largest variable is LONG with 3000000"):
        launch(targets.announce_and_block, {0: (announcements.path,), 1: (announcements.path,)}, "spawn", envs=envs)
    with pytest.raises(OSError, match="too large for the system; the largest variable is LONG with 3000000"):
        launch("sleep", {0: (1000,), 1: (1000,)}, envs=envs)
    assert not PARENT_ONLY_FDS


@pytest.mark.parametrize("forking", ["fork", "forkserver", "zygote"])
def test_ranks_that_are_forked_may_have_any_environment(launch: Launch, forking: str) -> None:
    context = launch(len, {0: ("a",), 1: ("ab",)}, forking, envs={0: {}, 1: {"LONG": "x" * 3_000_000}})
    assert result_of(context).return_values == {0: 1, 1: 2}


@pytest.mark.parametrize("method", ["spawn", "forkserver", "zygote"])
def test_files_of_the_user_do_not_replace_the_standard_library(
    launch: Launch, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "random", "socket", "select", "queue"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('this is the file of the user')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    assert result_of(launch(len, {0: ("a",)}, method)).return_values == {0: 1}


def test_a_file_that_the_system_cannot_run(launch: Launch, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF and no more")
    program.chmod(0o700)
    with pytest.raises(OSError, match="Exec format error"):
        launch(str(program), {0: ()})


SCARCE = """
import gc, psutil, resource
from nblaunch.processes.starting.zygotes import ZYGOTES
left = []
low = len(os.listdir("/proc/self/fd"))
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
outcomes = []
for limit in range(low, low + 40):
    before = sorted(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        context = launch(targets.block, (), 3)
    except OSError as error:
        outcomes.append(type(error).__name__)
        del error
    else:
        context.close()
        outcomes.append("started")
        del context
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.collect()
    ZYGOTES.close()
    assert sorted(os.listdir("/proc/self/fd")) == before, (limit, before, os.listdir("/proc/self/fd"))
    assert not psutil.Process().children(recursive=True), limit
    assert threading.active_count() == 1
    if outcomes[-2:] == ["started", "started"]:
        break
print(outcomes[0], outcomes[-1])
"""


@pytest.mark.parametrize("way", WAYS)
def test_too_few_descriptors_wherever_they_run_out(
    program: Callable[..., subprocess.Popen[str]], announcements: Announcements, way: str
) -> None:
    process = program(way, SCARCE)
    out, _ = process.communicate(timeout=100)
    assert out == "OSError started\n"


def test_no_more_threads(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        # 3.13 starts threads by another function
        name = "_start_joinable_thread" if hasattr(threading, "_start_joinable_thread") else "_start_new_thread"
        patch.setattr(threading, name, refuse)
        with pytest.raises(BlockingIOError, match="the system refused another thread: the limit of processes"):
            launch(targets.value, {0: (1,)})
    assert signal.getsignal(signal.SIGTERM) is before


def test_whoever_asks_a_gang_that_is_never_started_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    gang = Gang([RankSpec(0, "x:y")], Zygote, lambda _: None)
    wake = Orders.wake

    def drop(orders: Orders) -> None:
        wake(orders)
        assert gang.drop()
        # as if that had happened just after this look
        gang._supervisor.done.clear()

    monkeypatch.setattr(Orders, "wake", drop)
    assert gang.stacks() == {}


def test_an_interrupt_before_the_supervisor_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []

    def interrupted(thread: threading.Thread) -> None:
        threads.append(thread)
        raise KeyboardInterrupt

    events: list[Event] = []
    gang = gang_of(["exit 0"], events)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            gang.start()
    threads[0].start()  # the system is in no hurry
    threads[0].join()
    assert gang.join(0)
    assert events == []


@pytest.mark.parametrize("method", [Forkserver, Zygote])
def test_a_helper_that_cannot_get_ready(method: type[Forkserver]) -> None:
    events: list[Event] = []
    rank_spec = RankSpec(0, "x:y", env=dict(os.environ), sys_path=tuple(sys.path))
    gang = Gang([rank_spec], method, events.append, preparation=Preparation("no.such.module"))
    with pytest.raises(OSError, match=r"(?s)could not get ready:.*No module named 'no'"):
        gang.start()
    # one that takes long to get ready tells so before
    assert [type(event) for event in events if not isinstance(event, GettingReady)] == [Ending, Ended]


def test_an_answer_that_an_interrupted_start_has_left_behind(launch: Launch, announcements: Announcements) -> None:
    context = launch(targets.announce_and_block, {0: (announcements.path,)}, "forkserver")
    announcements.pids(1)
    assert context._gang is not None
    helper = context._gang._supervisor._method
    assert isinstance(helper, Forkserver)
    assert helper._connection is not None
    # nobody waits for the answer to this one
    rank_spec = RankSpec(1, "tests.processes.targets:block", env=dict(os.environ), sys_path=tuple(sys.path))
    Description(rank_spec, Descriptors(), helper._connection.environment).send(helper._connection.server)
    context._gang.settle_within(1)
    context.close()
    assert result_of(context).failures[0].exitcode == -signal.SIGTERM


# ---- the gang by itself


def gang_of(
    scripts: list[str], events: list[Event], periodic_checks: Sequence[PeriodicCheck] = (), **policy: Any
) -> Gang:
    rank_specs = [
        RankSpec(rank, command=("sh", "-c", script), env=dict(os.environ)) for rank, script in enumerate(scripts)
    ]
    return Gang(
        rank_specs,
        Program,
        events.append,
        periodic_checks=periodic_checks,
        policy=Policy(lambda exit_: exit_.exitcode == 0, **policy),
    )


def test_events_come_in_order_and_end_with_ended() -> None:
    events: list[Event] = []
    gang = gang_of(["exit 0", "exit 0"], events)
    gang.start()
    assert gang.join(LIMIT)
    kinds = [type(event) for event in events]
    assert kinds[:1] == [Started]
    assert sorted(kind.__name__ for kind in kinds[:-1]) == ["Exited", "Exited", "Started", "Started"]
    assert kinds[-1] is Ended
    assert [event.at for event in events] == sorted(event.at for event in events)
    assert gang.join(0)
    gang.end("too late", KILL)
    gang.settle_within(1)


def test_other_ranks_go_on_if_that_is_wished(tmp_path: Path) -> None:
    events: list[Event] = []
    mark = tmp_path / "mark"
    os.mkfifo(mark)
    gang = gang_of([f"echo > {mark}; kill -9 $$", f"cat {mark}"], events, stop_on_failure=False, settle=0)
    gang.start()
    assert gang.join(LIMIT)
    assert {event.rank: event.exitcode for event in events if isinstance(event, Exited)} == {0: -9, 1: 0}
    assert not any(isinstance(event, Ending) for event in events)


def test_a_run_that_takes_too_long_is_ended() -> None:
    events: list[Event] = []
    gang = gang_of(["sleep 1000"], events, timeout=0.01, grace=5)
    gang.start()
    assert gang.join(LIMIT)
    names = [type(event).__name__ for event in events]
    assert names == ["Started", "TimedOut", "Ending", "Signalled", "Exited", "Ended"]


def test_escalation_ends_with_sigkill() -> None:
    assert escalation(signal.SIGINT, signal.SIGTERM, grace=3)[:2] == (Step(signal.SIGINT, 3), Step(signal.SIGTERM, 3))
    assert escalation(signal.SIGTERM, grace=3)[-1].signal == signal.SIGKILL


def test_later_steps_replace_earlier_ones(announcements: Announcements) -> None:
    events: list[Event] = []
    gang = gang_of([f"trap '' TERM; echo $$ > {announcements.path}; while :; do sleep 1000; done"], events)
    gang.start()
    announcements.next_line()
    gang.end("first", escalation(signal.SIGTERM, grace=1000))
    gang.end("second", KILL)
    assert gang.join(LIMIT)
    assert [event.reason for event in events if isinstance(event, Ending)] == ["first"]
    assert [event.exitcode for event in events if isinstance(event, Exited)] == [-9]


def test_nobody_looks_at_ranks_that_are_gone() -> None:
    # asked for when the ranks have ended, but somebody who hears of it is still busy
    events: list[Event] = []

    def hear(event: Event) -> None:
        events.append(event)
        if isinstance(event, Ended):
            gang.sample(3600)

    gang = gang_of(["exit 0"], events)
    gang._supervisor._on_event = hear
    gang.start()
    assert gang.join(LIMIT)
    assert gang._sampler is not None
    gang._sampler.join(LIMIT)
    assert "nblaunch-sampler" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize("begun", [True, False])
def test_an_interrupt_while_somebody_begins_to_look_leaves_nobody_looking(
    monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        if begun:
            start(thread)
        raise KeyboardInterrupt

    events: list[Event] = []
    gang = gang_of(["sleep 9999"], events)
    gang.start()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            gang.sample(3600)
    lookers = [thread for thread in threading.enumerate() if thread.name == "nblaunch-sampler"]
    assert len(lookers) == begun
    gang.end("enough", KILL)
    assert gang.join(LIMIT)
    for thread in lookers:
        thread.join(LIMIT)
        assert not thread.is_alive()


def test_no_rank_is_started_while_the_program_is_stopped() -> None:
    started: list[int] = []
    held = threading.Event()

    def on_event(event: Event) -> None:
        if isinstance(event, Started):
            started.append(event.pid)
            if len(started) == 1:
                thread.start()
                # the order is there before the next rank is started
                while not gang._orders._stops:
                    time.sleep(0.001)

    def hold() -> None:
        gang.hold(LIMIT)
        held.set()

    thread = threading.Thread(target=hold)
    rank_specs = [RankSpec(rank, command=("sleep", "1000"), env=dict(os.environ)) for rank in range(3)]
    gang = Gang(rank_specs, Program, on_event)
    starter = threading.Thread(target=gang.start)
    starter.start()
    assert held.wait(LIMIT)
    assert len(started) == 1
    assert os.waitid(os.P_PID, started[0], os.WSTOPPED | os.WNOWAIT)
    gang.resume()
    assert os.waitid(os.P_PID, started[0], os.WCONTINUED | os.WNOWAIT)
    starter.join(LIMIT)
    thread.join(LIMIT)
    assert len(started) == 3
    gang.end("enough", KILL)
    assert gang.join(LIMIT)


def test_stacks_are_waited_for_without_the_time_that_the_program_was_stopped() -> None:
    requests = StackRequests()
    given: list[dict[int, Stack]] = []
    requests.ask({0: (os.getpid(), "")}, given.append, ending_waits=False)
    (request,) = (one.request for one in requests._open)
    before = request.deadline
    requests.stopped_for(60.0)
    assert request.deadline == before + 60.0
    requests.close()
    assert [*given[0]] == [0]


class Counting:
    """A periodic check that tells how often it has looked, and ends the ranks at some point."""

    def __init__(self, looks: int, then: Callable[[], None], period: float = 0.001) -> None:
        self.period = period
        self.looks = looks
        self.then = then
        self.seen = 0

    def stopped_for(self, seconds: float) -> None:
        """Take note that the ranks were stopped."""

    def look(self, now: float) -> list[Event]:
        self.seen += 1
        if self.seen == self.looks:
            self.then()
        return [Sampled({self.seen: Usage(0.0, 0)}, now)]


def test_lookouts_look_again_and_again_and_the_gang_tells_what_they_see() -> None:
    events: list[Event] = []
    # the one that is always late keeps neither the other nor the end from coming
    counting = Counting(5, lambda: gang.end("five looks", KILL))
    hasty = Counting(0, lambda: None, period=0)
    gang = gang_of(["sleep 1000"], events, periodic_checks=(hasty, counting))
    gang.start()
    assert gang.join(LIMIT)
    seen = [next(iter(event.usage)) for event in events if isinstance(event, Sampled)]
    assert sorted(seen) == sorted([*range(1, counting.seen + 1), *range(1, hasty.seen + 1)])
    assert counting.seen >= 5
    assert hasty.seen > 0
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Ended)


def test_lookouts_look_while_the_ranks_are_being_ended_too(announcements: Announcements) -> None:
    events: list[Event] = []
    script = f"trap '' TERM; echo $$ > {announcements.path}; while :; do sleep 1000; done"

    def kill_when_ending() -> list[Event]:
        if any(isinstance(event, Ending) for event in events):
            gang.end("seen", KILL)
        return []

    periodic_check = Counting(0, lambda: None)
    gang = gang_of([script], events, periodic_checks=(periodic_check,))
    periodic_check.look = lambda now: kill_when_ending()  # type: ignore[method-assign]
    gang.start()
    announcements.next_line()
    gang.end("first", escalation(signal.SIGTERM, grace=1000))
    assert gang.join(LIMIT)
    assert [event.exitcode for event in events if isinstance(event, Exited)] == [-9]


def test_a_lookout_that_fails_is_not_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise SystemExit("periodic_check")

    events: list[Event] = []
    failing = Counting(1, fail)
    other = Counting(5, lambda: gang.end("five looks", KILL))
    gang = gang_of(["sleep 1000"], events, periodic_checks=(failing, other))
    with caplog.at_level(logging.ERROR):
        gang.start()
        assert gang.join(LIMIT)
    assert failing.seen == 1
    assert other.seen >= 5
    assert "failed and is not asked again" in caplog.text
    assert "SystemExit: periodic_check" in caplog.text


def test_a_consumer_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def fail(event: Event) -> None:
        raise ValueError("consumer")

    gang = Gang(
        [RankSpec(0, command=("true",), env={"PATH": os.environ["PATH"]})],
        Program,
        fail,
        policy=Policy(lambda exit_: exit_.exitcode == 0),
    )
    with caplog.at_level(logging.ERROR):
        gang.start()
        assert gang.join(LIMIT)
    assert "a consumer of events failed on Started(rank=0" in caplog.text


@pytest.mark.parametrize("way", WAYS)
def test_a_fault_in_the_supervision_kills_all_and_is_told(
    launch: Launch, way: str, announcements: Announcements, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "binary":
        context = launch("sh", dict.fromkeys(range(2), ("-c", f"echo $$ > {announcements.path}; sleep 1000")))
    else:
        context = launch(targets.announce_and_block, dict.fromkeys(range(2), (announcements.path,)), way)
    pids = announcements.pids(2)

    def fail(*_: object) -> None:
        raise ZeroDivisionError("fault")

    assert context._gang is not None
    monkeypatch.setattr(context._gang._supervisor, "_meet_deadlines", fail)
    context._gang.settle_within(1)  # wakes it
    with pytest.raises(RuntimeError, match=r"(?s)which is a fault of nblaunch.*ZeroDivisionError: fault"):
        context.wait(LIMIT)
    assert_gone(pids)


def test_a_fault_after_the_start_is_no_fault_of_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Event] = []
    gang = gang_of(["sleep 1000"], events)

    def fail() -> float | None:
        raise ZeroDivisionError("fault")

    monkeypatch.setattr(gang._supervisor, "_time_to_deadline", fail)
    # whoever waits for the start hears of it last
    monkeypatch.setattr(gang._supervisor.all_started, "wait", lambda: gang._supervisor.done.wait(LIMIT))
    gang.start()
    assert gang.join(LIMIT)
    ended = events[-1]
    assert isinstance(ended, Ended)
    assert ended.defect is not None and "ZeroDivisionError: fault" in ended.defect
    assert ended.refused == ""


def test_a_gang_that_is_dropped_looks_at_nobody_any_more() -> None:
    gang = gang_of(["exit 0"], [])
    gang.sample(0.01)
    assert gang.drop()
    assert gang.join(LIMIT)
    assert "nblaunch-sampler" not in [thread.name for thread in threading.enumerate()]


def test_an_interrupt_while_a_gang_is_dropped_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    gang = gang_of(["exit 0"], [])
    tidy_up = Supervisor.tidy_up

    def interrupted(supervisor: Supervisor) -> None:
        tidy_up(supervisor)
        raise KeyboardInterrupt

    monkeypatch.setattr(Supervisor, "tidy_up", interrupted)
    with pytest.raises(KeyboardInterrupt):
        gang.drop()
    assert gang.join(0)
    assert gang.stacks() == {}
