"""Runs that are hit by faults drawn at random: each ends, tells the truth, and leaves nothing behind.

``make chaos N=2000`` does more of them, ``CHAOS_SEED`` draws others; what a seed and a number draw stays the same as
long as `tests.chaos.faults` and `tests.chaos.case` do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.chaos.blows import ORDERS, Blow
from tests.chaos.case import Case, draw
from tests.chaos.driver import ChaosError, Driver
from tests.chaos.faults import FAULTS
from tests.chaos.inside import NEXT_ATTEMPT
from tests.chaos.judge import objections
from tests.chaos.table import table
from tests.kernel import Reply

SEED = int(os.environ.get("CHAOS_SEED", "8"))
# As many as fit into three minutes on two cores; a slower machine does fewer of each part.
PARTS, RUNS, SECONDS = 5, 28, 28.0


@pytest.fixture
def driver() -> Iterator[Driver]:
    driver = Driver(SEED, print)
    yield driver
    driver.close()


@pytest.mark.chaos
@pytest.mark.kernel
@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", range(PARTS))
def test_runs_end_tell_the_truth_and_leave_nothing(driver: Driver, part: int) -> None:
    print(f"seed {SEED}")
    driver.run(range(part * RUNS, (part + 1) * RUNS), SECONDS)
    print(table(driver, "this machine", SECONDS))
    assert driver.runs > 0


# ---- what is drawn, and that the judge is strict: no kernel


def test_a_seed_and_a_number_always_draw_the_same() -> None:
    for number in range(50):
        case = draw(7, number)
        assert case == draw(7, number)
        assert case.cell == draw(7, number).cell
    assert len({draw(7, number).cell for number in range(50)}) > 45
    assert draw(7, 3).cell != draw(8, 3).cell


def test_every_fault_and_every_moment_is_drawn() -> None:
    blows = [blow for number in range(2000) for blow in draw(1, number).blows]
    assert {blow.moment for blow in blows} >= {"idle", "start", "run", "result", "exit"}
    assert len({blow.fault for blow in blows}) >= len(FAULTS)
    methods = {draw(1, number).method for number in range(200)}
    assert methods == {"zygote", "forkserver", "spawn", "fork"}


def test_what_these_tests_run_has_every_form() -> None:
    cases = [draw(8, number) for number in range(PARTS * RUNS)]
    assert {case.restarts for case in cases} == {0, 1, 2, 3}
    assert {case.form for case in cases} == {"cell", "function", "background"}
    assert {case.panel for case in cases} == {"live", "text", "none"}
    assert {case.client for case in cases} == {"", "answers", "late", "silent", "nobody"}
    assert any(case.holds() for case in cases)
    assert any(case.may_quit() for case in cases)
    assert any(case.stall is not None for case in cases)
    assert any(case.straggler is not None for case in cases)
    acts = {text for case in cases for blow in case.blows for _, text in blow.aside}
    assert acts >= {*ORDERS, "run.stacks()", "run.signal('SIGSTOP')", NEXT_ATTEMPT}


def test_cells_are_python() -> None:
    for number in range(300):
        case = draw(2, number)
        lines = case.cell.splitlines()
        compile("\n".join(lines[1:] if lines[0].startswith("%%") else lines), "<cell>", "exec")


def test_what_does_not_end_by_itself_is_ended() -> None:
    for number in range(1000):
        case = draw(3, number)
        if any(blow.needs_end for blow in case.blows):
            assert case.timeout is not None
        waits = case.bystanders not in ("finish", "display")
        ends = case.timeout is not None or case.kills_the_kernel() or case.may_be_ended()
        assert not waits or ends or (any(blow.is_fatal for blow in case.blows) and not case.keeps_going)


REPLY = Reply("ok", 1, "", "", "", "", "", [], "", [])


def told(**changes: object) -> dict[str, object]:
    """Return what a run of two ranks tells of which rank 1 was killed by SIGKILL."""
    right: dict[str, object] = {
        "status": "failed",
        "ok": False,
        "results": {0: "0"},
        "failures": {1: "SIGKILL"},
        "collateral": [],
        "root": 1,
        "pids": {0: 100, 1: 101},
        "refused": "",
    }
    told = right | changes
    return {"attempts": [{"number": 0, **told}], **told}


@pytest.mark.parametrize(
    ("changes", "objection"),
    [
        ({}, ""),
        ({"results": {}}, "results and failures together are of the ranks [1]"),
        ({"results": {0: "0", 1: "0"}}, "results and failures together are of the ranks [0, 1, 1]"),
        ({"results": {0: "of another rank"}}, "the result of rank 0 is of another rank"),
        ({"failures": {1: "SIGTERM"}}, "rank 1 ended by SIGTERM; allowed are ['SIGKILL']"),
        ({"root": None}, "the root cause is rank None, and by themselves have failed [1]"),
        ({"root": 0}, "the root cause is rank 0, and by themselves have failed [1]"),
        ({"collateral": [1], "root": None}, "nobody has failed, and rank 1 was hit"),
        ({"status": "finished"}, "the status is finished with failures"),
        ({"status": "interrupted"}, "the run is said to have been interrupted"),
        ({"status": "timed out"}, "the run is said to have timed out"),
    ],
)
def test_the_judge_objects(changes: dict[str, object], objection: str) -> None:
    found = list(objections(_killed(), REPLY, told(**changes), {}))
    assert any(objection in said for said in found) if objection else not found, found


def test_the_judge_wants_the_exception() -> None:
    (said,) = objections(replace(_killed(), raises=True), REPLY, told(), {})
    assert said == "the cell did not raise RanksFailed but nothing: "
    (said,) = objections(_killed(), REPLY, None, {})
    assert said == "there is no run; the cell said : "


def test_the_judge_knows_who_was_hit() -> None:
    anybody = Blow("SIGKILL from outside", "start", None, frozenset({"value", "SIGKILL"}))
    case = replace(_killed(), blows=(anybody,))
    assert not list(objections(case, REPLY, told(), {101: "SIGKILL"}))
    (said,) = objections(case, REPLY, told(), {100: "SIGKILL"})
    assert said == "rank 1 ended by SIGKILL, which was sent to {100: 'SIGKILL'} and not to it"


def of_two_attempts(**changes: object) -> dict[str, object]:
    """Return what a run of two ranks tells of which rank 1 was killed, and which then has succeeded."""
    first = {
        "number": 0,
        "results": {0: "empty"},
        "failures": {1: "SIGKILL"},
        "collateral": [],
        "root": 1,
        "pids": {0: 100, 1: 101},
    }
    last: dict[str, object] = {
        "results": {0: "0", 1: "0"},
        "failures": {},
        "collateral": [],
        "root": None,
        "pids": {0: 102, 1: 103},
    }
    told = {"status": "finished", "ok": True, "refused": "", **last}
    return told | {"attempts": [first | changes, {"number": 1, **last}]}


@pytest.mark.parametrize(
    ("changes", "objection"),
    [
        ({}, ""),
        ({"number": 1}, "there are the attempts [1, 1] with 1 restarts"),
        ({"failures": {}, "results": {0: "empty", 1: "empty"}, "root": None}, "attempt 0: rank 1 has a result"),
        ({"results": {}}, "attempt 0: results and failures together are of the ranks [1]"),
        ({"failures": {1: "SIGTERM"}}, "attempt 0: rank 1 ended by SIGTERM; allowed are ['SIGKILL']"),
        ({"root": 0}, "attempt 0: the root cause is rank 0, and by themselves have failed [1]"),
        ({"collateral": [1], "root": None}, "attempt 0 was followed by another one, and no rank had failed by itself"),
        ({"pids": {0: 100, 1: 103}}, "a process was in several attempts"),
    ],
)
def test_the_judge_objects_to_attempts(changes: dict[str, object], objection: str) -> None:
    found = list(objections(_killed_at_first(), REPLY, of_two_attempts(**changes), {}))
    assert any(objection in said for said in found) if objection else not found, found


def test_the_judge_wants_as_many_attempts_as_are_allowed() -> None:
    again = replace(_killed_at_first(), blows=_killed().blows)
    (said,) = objections(again, REPLY, told(), {})
    assert said == "0 restarts of 1, and the run has failed"
    (said,) = objections(again, REPLY, told(refused="no more processes"), {})
    assert said == "the ranks were not started again: no more processes"


def test_restarts_are_drawn_so_that_attempts_fail_and_succeed() -> None:
    cases = [case for case in (draw(4, number) for number in range(1000)) if case.restarts]
    assert {case.restarts for case in cases} == {1, 2, 3}
    fatal = [any(blow.is_fatal for blow in case.part(0).blows) for case in cases]
    assert 0.6 < sum(fatal) / len(cases) < 1.0
    assert any(not case.part(case.restarts).blows for case in cases)


def _killed_at_first() -> Case:
    case = _killed()
    return replace(case, blows=(replace(case.blows[0], attempt=0),), restarts=1)


def _killed() -> Case:
    blow = Blow("SIGKILL from inside", "run", 1, frozenset({"SIGKILL"}), ("inside.act('SIGKILL')",))
    return Case(0, 0, 2, "zygote", "cell", (blow,), "finish", 0.1, None, False, False, "none")


@pytest.mark.kernel
def test_a_failure_says_how_to_have_it_once_more(driver: Driver) -> None:
    # the case claims that rank 1 survives what does not spare it
    case = _killed()
    wrong = replace(case, blows=(replace(case.blows[0], outcomes=frozenset({"value"})),))
    with pytest.raises(ChaosError) as raised:
        driver.run_one(wrong)
    text = str(raised.value)
    assert text.startswith("run 0 of seed 0: rank 1 ended by SIGKILL; allowed are ['value']")
    assert wrong.cell in text
    assert text.endswith("once more: make chaos SEED=0 RUN=0")
    # and goes on with another kernel
    driver.run_one(case)
    assert driver.counts == {("SIGKILL from inside", "run"): 1}
