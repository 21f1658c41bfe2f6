"""Ranks that live for tasks: a gang is given one after the other, and its ranks stay meanwhile."""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nblaunch.events import Ended, Event, Exited, Finished, Raised, Started, TaskEnded, TimedOut
from nblaunch.messages.reports import ErrorReport
from nblaunch.messages.values import Value
from nblaunch.messages.work import VALUE, Work
from nblaunch.payload import pack, pack_named, unpack, unpack_named
from nblaunch.processes.child.context import Context
from nblaunch.processes.child.rank_spec import RankSpec
from nblaunch.processes.gang.escalation import KILL
from nblaunch.processes.gang.gang import Gang
from nblaunch.processes.gang.policy import Policy
from nblaunch.processes.gang.tasks import GangTask
from nblaunch.processes.starting.start_methods import start_method_named
from tests.processes.targets import LIMIT, METHODS, assert_gone


def count(context: Context) -> int:
    """Entry point: report the numbers of the tasks, what each has brought, and the process that does them."""
    for task in context.tasks():
        context.let_interrupts_in()
        told = unpack(task.payload.pop(0))
        print(f"task {task.number} of rank {context.rank_spec.rank}: {told}")
        if told == "fail":
            context.channel.tell(ErrorReport.of(ValueError("failed"), "its traceback"))
        elif told == "leave":
            os._exit(3)
        elif told == "wait":
            threading.Event().wait()
        else:
            context.channel.tell(Value(pack([task.number, told, os.getpid()])))
    return 0


class Staying:
    """A gang whose ranks stay, and its events as they come."""

    def __init__(self, nprocs: int, method: str, first: Any, entry: str, folder: Path, **policy: Any) -> None:
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.folder = folder
        self.nprocs = nprocs
        specs = [
            RankSpec(
                rank,
                entry=entry,
                env=dict(os.environ),
                stdout=self.file(0, rank, "stdout"),
                stderr=self.file(0, rank, "stderr"),
                sys_path=tuple(sys.path),
                stays=True,
            )
            for rank in range(nprocs)
        ]
        self.gang = Gang(specs, start_method_named(method), self.events.put, payload=first, policy=Policy(**policy))
        self.gang.start()

    def file(self, number: int, rank: int, name: str) -> str:
        path = self.folder / str(number) / str(rank) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return str(path)

    def submit(self, number: int, payload: Any, ranks: frozenset[int] | None = None, **policy: Any) -> None:
        self.gang.submit(
            GangTask(
                payload,
                {rank: self.file(number, rank, "stdout") for rank in range(self.nprocs)},
                {rank: self.file(number, rank, "stderr") for rank in range(self.nprocs)},
                Policy(**policy),
                ranks,
            )
        )

    def until(self, kind: type[Event]) -> list[Event]:
        """Return the events up to the first one of a kind."""
        events: list[Event] = []
        while not events or not isinstance(events[-1], kind):
            events.append(self.events.get(timeout=LIMIT))
        return events

    def reports(self) -> dict[int, Finished | Raised]:
        """Return what ranks have reported until their task was over."""
        return {event.rank: event for event in self.until(TaskEnded) if isinstance(event, Finished | Raised)}

    def close(self) -> None:
        self.gang.end("the test is over", KILL)
        assert self.gang.join(LIMIT)


@pytest.fixture
def stay(tmp_path: Path) -> Iterator[Any]:
    begun: list[Staying] = []

    def begin(nprocs: int, method: str, first: Any, entry: str = f"{__name__}:count", **policy: Any) -> Staying:
        begun.append(
            Staying(nprocs, method, (pack(first),) if isinstance(first, str) else first, entry, tmp_path, **policy)
        )
        return begun[-1]

    yield begin
    for gang in begun:
        gang.close()


def decoded(reports: dict[int, Finished | Raised]) -> dict[int, list[Any]]:
    return {rank: unpack(report.body) for rank, report in reports.items() if isinstance(report, Finished)}


@pytest.mark.parametrize("method", [*METHODS, "zygote"])
def test_a_gang_is_given_three_tasks_one_after_the_other(stay: Any, method: str) -> None:
    staying = stay(2, method, "first")
    pids = staying.gang.pids
    staying.submit(1, [pack("second")])
    staying.submit(2, [pack("third")])
    for number, told in enumerate(["first", "second", "third"]):
        assert decoded(staying.reports()) == {rank: [number, told, pids[rank]] for rank in range(2)}
    staying.gang.finish()
    rest = staying.until(Ended)
    assert {event.rank: event.exitcode for event in rest if isinstance(event, Exited)} == {0: 0, 1: 0}
    assert_gone(list(pids.values()))
    # each task has written to files of its own
    for number, told in enumerate(["first", "second", "third"]):
        for rank in range(2):
            text = Path(staying.file(number, rank, "stdout")).read_text()
            assert text == f"task {number} of rank {rank}: {told}\n"


def test_events_of_tasks_come_in_order(stay: Any) -> None:
    staying = stay(1, "fork", "first")
    staying.submit(1, [pack("second")])
    staying.gang.finish()
    events = staying.until(Ended)
    assert [type(event) for event in events] == [Started, Finished, TaskEnded, Finished, TaskEnded, Exited, Ended]
    assert [event.number for event in events if isinstance(event, TaskEnded)] == [0, 1]


def test_a_rank_that_has_failed_at_a_task_does_the_next_one(stay: Any) -> None:
    staying = stay(2, "zygote", "fail", stop_on_failure=False)
    assert {rank: type(report) for rank, report in staying.reports().items()} == {0: Raised, 1: Raised}
    staying.submit(1, [pack("again")])
    assert {rank: type(report) for rank, report in staying.reports().items()} == {0: Finished, 1: Finished}


def test_a_failure_ends_the_ranks_of_the_task_if_that_is_its_policy(stay: Any) -> None:
    staying = stay(2, "zygote", "first")
    staying.reports()
    staying.submit(1, [pack("leave")], settle=0, grace=5)
    exits = [event for event in staying.until(Ended) if isinstance(event, Exited)]
    assert max(event.exitcode for event in exits) == 3


def test_some_ranks_do_a_task_and_the_others_wait(stay: Any) -> None:
    staying = stay(3, "zygote", "all")
    assert sorted(staying.reports()) == [0, 1, 2]
    staying.submit(1, [pack("some")], ranks=frozenset({0, 2}))
    assert sorted(staying.reports()) == [0, 2]
    staying.submit(2, [pack("all")])
    assert {rank: told[0] for rank, told in decoded(staying.reports()).items()} == {0: 2, 1: 1, 2: 2}


def test_the_time_of_a_task_does_not_run_while_ranks_wait_for_one(stay: Any) -> None:
    staying = stay(1, "zygote", "first", timeout=LIMIT)
    staying.reports()
    # with its time over, which is not looked at
    staying.gang._supervisor.policy.timeout = 0.0
    staying.submit(1, [pack("second")], timeout=LIMIT)
    assert decoded(staying.reports())[0][:2] == [1, "second"]
    staying.submit(2, [pack("wait")], timeout=0.01, grace=5)
    assert any(isinstance(event, TimedOut) for event in staying.until(Ended))


def test_ranks_that_do_not_stay_take_no_more_tasks(tmp_path: Path) -> None:
    gang = Gang([RankSpec(0, command=("true",))], start_method_named("spawn"), lambda _: None)
    with pytest.raises(ValueError, match="leave after their first task"):
        gang.submit(GangTask([pack("more")]))
    gang.drop()


def test_ranks_that_stay_go_with_their_gang(stay: Any) -> None:
    staying = stay(2, "zygote", "first")
    staying.reports()
    pids = list(staying.gang.pids.values())
    staying.close()
    assert_gone(pids)


def test_cells_are_tasks(stay: Any) -> None:
    """The rank that a notebook's cell gets does one after the other."""

    def cell(source: str, number: int) -> list[Any]:
        work = Work(cell=source, filename=f"<cell {number}>", number=number, nprocs=2)
        return [pack(work), pack_named({})]

    staying = stay(2, "zygote", cell("rank * 10", 1), entry="nblaunch.rank.main:run", stop_on_failure=False)

    def values() -> dict[int, Any]:
        return {
            rank: unpack_named(report.body)[VALUE]
            for rank, report in staying.reports().items()
            if isinstance(report, Finished)
        }

    assert values() == {0: 0, 1: 10}
    staying.submit(1, cell("1 / rank", 2), stop_on_failure=False)
    reports = staying.reports()
    first, second = reports[0], reports[1]
    assert isinstance(first, Raised)
    assert first.summary == "ZeroDivisionError: division by zero"
    assert isinstance(second, Finished)
    staying.submit(2, cell("print('said'); rank", 3))
    assert values() == {0: 0, 1: 1}
    assert [Path(staying.file(2, rank, "stdout")).read_text() for rank in range(2)] == ["said\n", "said\n"]
