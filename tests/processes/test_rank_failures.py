"""Every way in which a rank can end badly gives the right failure, and none of them a hang."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from nblaunch.processes import DefaultLogsSpecs, ProcessFailure, RunProcsResult, start_processes
from nblaunch.processes.errors import ChildFailedError
from tests.processes import targets
from tests.processes.conftest import Launch
from tests.processes.targets import Announcements, Gate, assert_gone
from tests.processes.test_start_processes import result_of

# how the rank leaves, exit code, message
ENDS = [
    ("raise", 1, "ValueError: boom"),
    ("os._exit(0)", 0, "exited with code 0 before it had returned a value: something called os._exit(0)"),
    ("os._exit(7)", 7, "exited with code 7 and left no error file"),
    ("sys.exit(3)", 3, "exited with code 3 and left no error file: SystemExit: 3"),
    ("sys.exit('text')", 1, "exited with code 1 and left no error file: SystemExit: text"),
    ("KeyboardInterrupt", -2, "KeyboardInterrupt"),
    ("GeneratorExit", 1, "GeneratorExit"),
    ("SIGKILL", -9, "Signal 9 (SIGKILL) received by PID"),
    ("SIGTERM", -15, "Signal 15 (SIGTERM) received by PID"),
    ("SIGSEGV", -11, "Signal 11 (SIGSEGV) received by PID"),
    ("unpicklable value", 1, "the value that rank 0 returned, of type lock, cannot be pickled"),
    ("value that refuses without words", 1, "type Wordless, cannot be pickled: WordlessError: <its __str__ failed"),
    ("unpicklable exception", 1, "UnpicklableError: <unlocked _thread.lock object"),
    ("exception without text", 1, "WordlessError: <str() of this exception failed>"),
]


def check(result: RunProcsResult, rank: int, exitcode: int, message: str) -> ProcessFailure:
    assert result.is_failed()
    assert result.return_values == {}
    failure = result.failures[rank]
    assert failure.exitcode == exitcode
    assert failure.local_rank == rank
    assert isinstance(failure.message, str)
    assert message in failure.message
    parts: str = failure.message["message"]  # type: ignore[index]
    assert parts in (failure.message, failure.message.split("\n")[0])
    return failure


@pytest.mark.parametrize(("how", "exitcode", "message"), ENDS, ids=[end[0] for end in ENDS])
def test_the_end_of_one_rank(launch: Launch, method: str, how: str, exitcode: int, message: str) -> None:
    context = launch(targets.leave, {0: (how,)}, method)
    failure = check(result_of(context), 0, exitcode, message)
    assert failure.pid == context.pids()[0]
    if exitcode < 0 and how != "KeyboardInterrupt":
        assert failure.signal_name() == how


@pytest.mark.parametrize("how", ["raise", "os._exit(0)", "KeyboardInterrupt", "SIGKILL", "sys.exit(3)"])
def test_it_ends_the_others(launch: Launch, method: str, how: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    os.mkfifo(mark)
    context = launch(targets.first_fails_second_waits, {rank: (rank, str(mark), how) for rank in range(2)}, method)
    result = result_of(context)
    assert list(result.failures) == [0]  # the other one was ended because of it
    assert_gone(list(context.pids().values()))


@pytest.mark.parametrize("how", ["sys.exit()", "sys.exit(0)"])
def test_leaving_in_order_is_no_failure(launch: Launch, method: str, how: str) -> None:
    assert result_of(launch(targets.leave, {0: (how,)}, method)).return_values == {0: None}


def test_the_error_file_holds_the_traceback(launch: Launch, method: str) -> None:
    context = launch(targets.leave, {0: ("raise",)}, method)
    failure = result_of(context).failures[0]
    assert failure.error_file == context.error_files[0]
    with open(failure.error_file) as file:
        data = json.load(file)
    assert failure.error_file_data == data
    assert data["message"]["message"] == "ValueError: boom"
    assert 'raise ValueError("boom")' in data["message"]["extraInfo"]["py_callstack"]
    assert "ValueError: boom" in Path(context.stderrs[0]).read_text()


def test_the_value_that_cannot_be_pickled_says_why_and_what_to_do(launch: Launch, method: str) -> None:
    failure = result_of(launch(targets.leave, {0: ("unpicklable value",)}, method)).failures[0]
    assert "cannot be pickled: TypeError: cannot pickle '_thread.lock' object" in failure.message
    assert "Return something that can be" in failure.message
    assert os.path.exists(failure.error_file)


def test_a_value_that_cannot_be_rebuilt(launch: Launch, method: str) -> None:
    result = result_of(launch(targets.unbuildable, {0: ()}, method))
    check(result, 0, 0, "the value that rank 0 returned cannot be rebuilt here: LookupError: only built at home")


def test_a_value_that_cannot_be_rebuilt_and_says_so_without_words(launch: Launch) -> None:
    result = result_of(launch(targets.unbuildable_without_words, {0: ()}))
    check(result, 0, 0, "cannot be rebuilt here: WordlessError: <its __str__ failed: RuntimeError>")


@pytest.mark.parametrize("log_dir", [os.devnull, None])
def test_without_an_error_file_the_reason_is_told_all_the_same(
    method: str, tmp_path: Path, log_dir: str | None, capfd: pytest.CaptureFixture[str]
) -> None:
    specs = DefaultLogsSpecs(log_dir=log_dir or str(tmp_path))
    how = "raise" if log_dir else "sys.exit('text')"
    context = start_processes("rank", targets.leave, {0: (how,)}, {0: {}}, specs, start_method=method)
    failure = check(result_of(context), 0, 1, "exited with code 1 and left no error file: ")
    assert failure.message.endswith("ValueError: boom" if log_dir else "SystemExit: text")
    assert failure.error_file == "<N/A>"
    capfd.readouterr()


def test_all_that_fail_together_are_told_in_their_order(
    launch: Launch, method: str, announcements: Announcements, gate: Gate
) -> None:
    count = 4
    context = launch(
        targets.fail_when_told, {rank: (rank, announcements.path, gate.path) for rank in range(count)}, method
    )
    announcements.pids(count)
    gate.open()
    result = result_of(context)
    assert {rank: str(failure.message) for rank, failure in result.failures.items()} == {
        rank: f"ValueError: boom {rank}" for rank in range(count)
    }
    assert set(ChildFailedError("x", result.failures).failures) == set(range(count))


def test_failures_are_ordered_by_time(launch: Launch, method: str, tmp_path: Path) -> None:
    marks = [tmp_path / f"mark{number}" for number in range(2)]
    for mark in marks:
        os.mkfifo(mark)
    # 2 fails, by which 1 fails, by which 0 fails
    context = launch(
        targets.fail_in_a_row,
        {0: ("", str(marks[0])), 1: (str(marks[0]), str(marks[1])), 2: (str(marks[1]), "")},
        method,
    )
    assert list(result_of(context).failures) == [2, 1, 0]


def test_a_rank_that_had_returned_is_no_failure(launch: Launch, method: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    os.mkfifo(mark)
    context = launch(targets.linger_after_value, {rank: (rank, str(mark)) for rank in range(2)}, method)
    assert list(result_of(context).failures) == [0]


def test_a_crash_keeps_its_time_when_others_take_theirs(
    launch: Launch, monkeypatch: pytest.MonkeyPatch, announcements: Announcements
) -> None:
    import signal

    context = launch(targets.announce_and_block, {0: (announcements.path,)})
    announcements.next_line()
    before = int(time.time())
    os.kill(context.pids()[0], signal.SIGKILL)
    assert context._gang is not None
    assert context._gang.join(targets.LIMIT)
    after = int(time.time())
    real = time.time
    shift = 1000.0
    monkeypatch.setattr(time, "time", lambda: real() + shift)
    monotonic = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + shift)
    failure = result_of(context).failures[0]
    assert before <= failure.timestamp <= after + 1


def test_ranks_that_break_their_connection_have_failed(launch: Launch, method: str) -> None:
    context = launch(targets.send_garbage, {0: (b"no message at all, and long enough",)}, method)
    check(result_of(context), 0, -9, "Signal 9 (SIGKILL)")


# ---- programs


@pytest.mark.parametrize(
    ("script", "exitcode", "message"),
    [
        ("exit 3", 3, "exited with code 3 and left no error file"),
        ("kill -9 $$", -9, "Signal 9 (SIGKILL) received by PID"),
        ("kill -SEGV $$", -11, "Signal 11 (SIGSEGV) received by PID"),
        (
            (
                'echo \'{"message": {"message": "told", "extraInfo": {"timestamp": "5"}}}\' > '
                "$TORCHELASTIC_ERROR_FILE; exit 1"
            ),
            1,
            "told",
        ),
        ("echo garbage > $TORCHELASTIC_ERROR_FILE; exit 1", 1, "exited with code 1; its error file cannot be read"),
    ],
)
def test_the_end_of_a_program(launch: Launch, script: str, exitcode: int, message: str) -> None:
    check(result_of(launch("sh", {0: ("-c", script)})), 0, exitcode, message)


def test_all_programs_that_did_not_succeed_are_told(launch: Launch, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    os.mkfifo(mark)
    scripts = {0: f"echo > {mark}; exec sleep 1000", 1: f"cat {mark}; exit 3", 2: "exit 0"}
    context = launch("sh", {rank: ("-c", script) for rank, script in scripts.items()})
    result = result_of(context)
    assert [(rank, failure.exitcode) for rank, failure in result.failures.items()] == [(1, 3), (0, -15)]
