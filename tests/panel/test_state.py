"""What a person is shown, out of the events."""

from __future__ import annotations

from nblaunch.events import (
    Abandoned,
    Captured,
    Displayed,
    DisplayKind,
    Ended,
    Ending,
    Exited,
    Finished,
    GettingReady,
    LastWord,
    Launched,
    Raised,
    Refused,
    Restarting,
    Sampled,
    Started,
    TimedOut,
    Usage,
)
from nblaunch.panel.state import RunState


def launched(nprocs: int = 3) -> RunState:
    state = RunState("%%multiproc")
    state.note(Captured({"data": 5}, 99.0))
    state.note(Launched(nprocs, 100.0))
    for rank in range(nprocs):
        state.note(Started(rank, 1000 + rank, 100.5))
    return state


def states(state: RunState) -> list[str]:
    return [rank.state for rank in state.ranks]


def test_before_and_after_the_start() -> None:
    state = RunState("t")
    assert (state.state, state.ranks, state.root) == ("starting", [], None)
    state = launched()
    assert (state.state, state.counts, state.sizes) == ("running", {"running": 3}, {"data": 5})
    assert (state.ranks[2].pid, state.ranks[2].began) == (1002, 0.5)


def test_what_ranks_wait_for_before_they_start() -> None:
    state = RunState("t")
    state.note(Launched(1, 100.0))
    state.note(GettingReady("", 100.5))
    assert (state.state, state.importing) == ("getting ready", "")
    state.note(GettingReady("sklearn", 101.0))
    assert (state.state, state.importing) == ("getting ready", "importing sklearn")
    state.note(Started(0, 1, 102.0))
    assert state.state == "running"


def test_a_value_finishes_a_rank_before_its_process_is_gone() -> None:
    state = launched()
    state.note(Finished(0, bytearray(), 101.0))
    assert states(state) == ["finished", "running", "running"]
    assert state.ranks[0].ended == 1.0
    # whatever becomes of it while it exits
    state.note(Exited(0, -11, LastWord.VALUE, False, 102.0))
    assert (state.ranks[0].state, state.ranks[0].exit, state.root) == ("finished", "SIGSEGV", None)


def test_a_value_that_is_none_makes_a_failure_of_a_rank_that_had_finished() -> None:
    state = launched()
    state.note(Finished(0, bytearray(), 101.0))
    state.note(Exited(0, 0, LastWord.VALUE, False, 101.5))
    state.note(Refused(0, "cannot be rebuilt", 101.0, 102.0))
    state.note(Ending("a rank failed", 102.2))
    # one that was sent while all were being ended failed by itself too
    state.note(Finished(1, bytearray(), 102.3))
    state.note(Refused(1, "cannot be rebuilt either", 102.3, 102.4))
    state.note(Exited(1, 0, LastWord.VALUE, True, 102.5))
    state.note(Exited(2, -15, None, True, 102.5))
    assert states(state) == ["failed", "failed", "stopped"]
    assert state.root is state.ranks[0]
    assert [rank.why for rank in state.ranks[:2]] == ["cannot be rebuilt", "cannot be rebuilt either"]


def test_the_first_failure_is_the_root_and_those_ended_for_it_are_stopped() -> None:
    state = launched()
    state.note(Raised(1, "ValueError: no", "trace", 101.0, 101.0))
    state.note(Raised(2, "ValueError: neither", "trace", 101.1, 101.1))
    state.note(Ending("a rank failed", 101.2))
    assert state.state == "stopping"
    state.note(Exited(1, 1, LastWord.ERROR, False, 101.3))
    state.note(Exited(2, 1, LastWord.ERROR, False, 101.3))
    state.note(Exited(0, -15, None, True, 101.4))
    state.note(Ended(101.5))
    assert states(state) == ["stopped", "failed", "failed"]
    assert [rank.root for rank in state.ranks] == [False, True, False]
    assert (state.ranks[1].why, state.ranks[1].exit) == ("ValueError: no", "exit code 1")
    assert (state.over, state.state, state.ended_at) == (True, "over", 101.5)


def test_the_interrupt_of_a_rank_is_no_failure_of_its_own() -> None:
    state = launched(1)
    state.note(Ending("the run was interrupted", 101.0))
    state.note(Raised(0, "KeyboardInterrupt", "trace", 101.1, 101.1))
    state.note(Exited(0, -2, LastWord.ERROR, True, 101.2))
    assert states(state) == ["stopped"]
    assert state.root is None


def test_ends_without_a_word() -> None:
    state = launched()
    state.note(Exited(0, 0, None, False, 101.0))
    state.note(Exited(1, -9, None, False, 101.1))
    state.note(Exited(2, 3, None, False, 101.2))
    assert states(state) == ["failed"] * 3
    assert [rank.why for rank in state.ranks] == [
        "ended without a value: the process left with code 0",
        "SIGKILL",
        "exit code 3",
    ]


def test_a_timeout_and_a_rank_that_does_not_go() -> None:
    state = launched(2)
    state.note(TimedOut((1,), 2.5, 102.5))
    state.note(Ending("the time was over", 102.5))
    state.note(Abandoned(0, 1000, 112.0))
    state.note(Exited(1, -15, None, True, 103.0))
    state.note(Exited(0, -9, None, True, 112.0))
    assert states(state) == ["stopped", "failed"]
    assert state.ranks[1].why == "still running after the timeout of 2.5 s"
    assert state.ranks[0].why == "hangs in the kernel and did not go even when killed"


def test_a_rank_that_finishes_while_it_is_ended_is_no_root_cause() -> None:
    state = launched(2)
    state.note(TimedOut((0, 1), 2.5, 102.5))
    state.note(Ending("the time was over", 102.5))
    state.note(Finished(0, bytearray(), 102.6))
    state.note(Exited(0, 0, LastWord.VALUE, True, 102.7))
    state.note(Exited(1, -15, None, True, 102.7))
    assert states(state) == ["finished", "failed"]
    assert (state.ranks[0].root, state.ranks[0].why) == (False, "")
    assert state.root is state.ranks[1]


def test_samples_count_while_a_rank_runs() -> None:
    state = launched(2)
    state.note(Sampled({0: Usage(50.0, 1000), 1: Usage(25.0, 500)}, 101.0))
    assert (state.cpu, state.memory) == (75.0, 1500)
    state.note(Finished(0, bytearray(), 101.5))
    state.note(Sampled({0: Usage(99.0, 9), 1: Usage(10.0, 600)}, 102.0))
    assert (state.cpu, list(state.ranks[0].history), list(state.ranks[1].history)) == (10.0, [1000], [500, 600])


def test_memory_is_estimated_until_all_have_been_looked_at() -> None:
    state = launched(4)
    assert (state.memory, state.memory_known, state.samples) == (0, False, 0)
    # many are looked at in turns
    state.note(Sampled({0: Usage(0.0, 1000), 1: Usage(0.0, 3000), 2: Usage(0.0, 0), 3: Usage(0.0, 0)}, 101.0))
    assert (state.memory, state.memory_known, state.samples) == (8000, False, 1)
    assert [list(rank.history) for rank in state.ranks] == [[1000], [3000], [], []]
    state.note(Finished(2, bytearray(), 101.5))
    state.note(Sampled({0: Usage(0.0, 1000), 1: Usage(0.0, 3000), 3: Usage(0.0, 2000)}, 102.0))
    assert (state.memory, state.memory_known) == (6000, True)


def test_a_restart_says_why() -> None:
    state = launched(1)
    state.note(Raised(0, "ValueError: no", "trace", 101.0, 101.0))
    state.note(Restarting(2, 3, 102.0))
    assert state.restarts == "restart 2 of 3"
    assert state.restarted == "rank 0 failed (ValueError: no); it starts again: restart 2 of 3"
    assert states(state) == ["restarting"]
    state = launched(5)
    for at, rank in enumerate((3, 0, 1), 101):
        state.note(Exited(rank, -9, None, False, at))
    state.note(Restarting(1, 1, 106.0))
    assert state.restarted == "rank 3 failed first (SIGKILL), and ranks 0-1 too; all ranks start again: restart 1 of 1"


def test_displays_are_shown_elsewhere() -> None:
    state = launched(1)
    before = states(state)
    state.note(Displayed(0, DisplayKind.NEW, {}, {}, None, 101.0))
    assert states(state) == before


def test_a_restart_that_is_refused_shows_the_attempt_before() -> None:
    state = launched(2)
    state.note(Finished(0, bytearray(), 101.0))
    state.note(Raised(1, "ValueError: no", "trace", 101.0, 101.0))
    before = states(state)
    state.note(Restarting(1, 1, 102.0))
    state.note(Launched(2, 102.0, 1))
    assert (states(state), state.attempt) == (["starting", "starting"], 1)
    state.note(Ended(103.0, refused="no more processes"))
    assert (states(state), state.attempt) == (before, 0)
    assert state.root is not None
    assert state.root.rank == 1


def test_what_was_raised_first_is_the_root_whenever_it_is_told() -> None:
    state = launched(3)
    state.note(Raised(2, "ValueError: second", "trace", 101.1, raised_at=100.9))
    assert [rank.root for rank in state.ranks] == [False, False, True]
    state.note(Raised(1, "ValueError: first", "trace", 101.2, raised_at=100.5))
    assert [rank.root for rank in state.ranks] == [False, True, False]


def test_a_rank_that_is_held_has_failed_only_when_it_says_so_or_is_gone() -> None:
    state = launched(3)
    for rank in range(3):
        state.note(Raised(rank, f"ValueError: {rank}", "trace", 101.0, raised_at=101.0 - rank, held=True))
    assert states(state) == ["running", "running", "running"]
    state.note(Raised(0, "ValueError: 0", "trace", 102.0, raised_at=101.0))
    state.note(Ending("a rank failed", 102.1))
    # killed before it could report it, as is what another one raised before the end began
    state.note(Exited(1, -9, None, True, 102.2))
    state.note(Raised(2, "ValueError: 2", "trace", 102.3, raised_at=99.0))
    assert states(state) == ["failed", "failed", "failed"]
    assert [rank.why for rank in state.ranks] == ["ValueError: 0", "ValueError: 1", "ValueError: 2"]
    assert [rank.root for rank in state.ranks] == [False, False, True]
