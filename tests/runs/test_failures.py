"""How failures read: summaries, folding, tails, crash stacks, and the message of `RanksFailed`."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nblaunch.events import ErrorFile
from nblaunch.processes.errors import ProcessFailure
from nblaunch.runs.failures import (
    RankFailure,
    RanksFailed,
    RankTimeout,
    last_lines,
    without_escapes,
)
from nblaunch.runs.outcome import first_to_fail
from nblaunch.wording import name_ranks


def failure(rank: int, exitcode: int = 1, **fields: Any) -> RankFailure:
    made = RankFailure(local_rank=rank, pid=100 + rank, exitcode=exitcode, error_file="<N/A>", rank=rank)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def raised(source: str) -> BaseException:
    try:
        exec(compile(source, "<cell>", "exec"), {})
    except BaseException as error:
        return error
    raise AssertionError


def failed(error: BaseException, rank: int, at: float = 0.0, **fields: Any) -> RankFailure:
    return failure(
        rank,
        exception=error,
        message=f"{type(error).__name__}: {error}",
        traceback=f"Cell In[5], line {rank + 1}\n{type(error).__name__}: {error}",
        at=at,
        **fields,
    )


def run_of(*failures: RankFailure, nprocs: int = 4, results: tuple[int, ...] = (), status: str = "failed") -> Any:
    found = {failure.rank: failure for failure in failures}
    return SimpleNamespace(
        refused="",
        earlier=[],
        nprocs=nprocs,
        results=dict.fromkeys(results),
        failures=found,
        root_cause=first_to_fail(found.values()),
        logs=SimpleNamespace(path="/logs", temporary=False),
        status=status,
    )


def text_of(run: Any) -> str:
    return without_escapes(RanksFailed(run)._render_traceback_()[0])


@pytest.mark.parametrize(
    ("ranks", "text"),
    [
        ([3], "rank 3"),
        ([0, 1], "ranks 0-1"),
        ([2, 0, 1, 5], "ranks 0-2, 5"),
        ([0, 2, 4], "ranks 0, 2, 4"),
        ({10: "", 9: "", 11: ""}, "ranks 9-11"),
        (iter([1]), "rank 1"),
    ],
)
def test_ranks_in_words(ranks: Any, text: str) -> None:
    assert name_ranks(ranks) == text


def test_colours_are_removed() -> None:
    assert without_escapes("\x1b[31;1mred\x1b[0m \x1b[38;5;28mgreen\x1b[39m\x1b[?25l") == "red green"


def test_the_last_lines() -> None:
    assert last_lines("a\nb\nc", 2) == "b\nc"
    assert last_lines("", 2) == ""
    assert last_lines("\n".join(map(str, range(100)))).splitlines()[0] == "80"


def test_a_failure_is_a_process_failure() -> None:
    made = failure(2, exitcode=-9)
    assert isinstance(made, ProcessFailure)
    assert made.signal_name() == "SIGKILL"
    assert "SIGKILL" in made.summary()
    assert (made.rank, made.local_rank, made.exception, made.traceback, made.collateral) == (2, 2, None, "", False)
    assert repr(failure(2, exitcode=3, collateral=True, message="x")) == "RankFailure(rank=2, x, collateral)"


def test_summaries_have_one_line() -> None:
    assert failed(ValueError("one\ntwo"), 0).summary() == "ValueError: one"
    assert failure(0, exception=ValueError(), message="").summary() == "ValueError"
    assert failure(0, message="").summary() == "exit code 1"


def test_the_root_cause_is_the_first_that_is_no_victim() -> None:
    victim = failed(ValueError(), 0, at=1.0, collateral=True)
    first, second = failed(ValueError(), 2, at=2.0), failed(ValueError(), 1, at=3.0)
    assert first_to_fail([victim, second, first]) is first
    assert first_to_fail([victim]) is None
    assert first_to_fail([]) is None


def test_sameness_is_the_type_and_the_lines() -> None:
    one, two = failed(raised("1 / 0"), 0), failed(raised("1 / 0"), 1)
    other_line, other_type = failed(raised("\n1 / 0"), 2), failed(raised("int('')"), 3)
    assert one.same_as(two)
    assert not one.same_as(other_line)
    assert not one.same_as(other_type)
    assert not one.same_as(failure(1))
    assert failure(0, exitcode=-9).same_as(failure(1, exitcode=-9))
    assert not failure(0, exitcode=-9).same_as(failure(1, exitcode=-11))


def test_one_of_many() -> None:
    run = run_of(
        failed(ValueError("boom"), 2),
        failure(0, collateral=True),
        failure(1, collateral=True),
        failure(3, collateral=True),
    )
    assert text_of(run) == (
        "RanksFailed: 1 of 4 ranks failed\n\n"
        "ranks 0-1, 3 were ended because of that\n\n"
        "Logs: /logs\n\n"
        "Rank 2 failed first:\nCell In[5], line 3\nValueError: boom"
    )
    assert str(RanksFailed(run)) == "1 of 4 ranks failed; rank 2 first: ValueError: boom"


def test_all_alike() -> None:
    run = run_of(*(failed(raised("1 / 0"), rank, at=-rank) for rank in range(4)))
    assert text_of(run) == (
        "RanksFailed: 4 of 4 ranks failed\n\n"
        "ranks 0-2: the same as rank 3\n\n"
        "Logs: /logs\n\n"
        "Rank 3 failed first:\nCell In[5], line 4\nZeroDivisionError: division by zero"
    )


def test_all_different_and_one_victim_and_a_result() -> None:
    run = run_of(
        failed(raised("1 / 0"), 0, at=1),
        failed(raised("int('')"), 1, at=2),
        failure(2, exitcode=3, message="rank 2 (pid 102) exited with code 3", at=3),
        failure(3, collateral=True),
        results=(4,),
        nprocs=5,
    )
    assert text_of(run) == (
        "RanksFailed: 3 of 5 ranks failed; the result of rank 4 kept\n\n"
        "rank 1: ValueError: invalid literal for int() with base 10: '' (Cell In[5], line 2)\n"
        "rank 2: rank 2 (pid 102) exited with code 3\n"
        "rank 3 was ended because of that\n\n"
        "Logs: /logs\n\n"
        "Rank 0 failed first:\nCell In[5], line 1\nZeroDivisionError: division by zero"
    )


def test_a_crash_shows_the_end_of_stderr() -> None:
    run = run_of(failure(0, exitcode=3, message="rank 0 exited with code 3", stderr_tail="one\ntwo"), nprocs=1)
    assert text_of(run) == (
        "RanksFailed: 1 of 1 rank failed\n\n"
        "Logs: /logs\n\n"
        "Rank 0 failed first:\n  The last lines of its stderr:\n  | one\n  | two\n  rank 0 exited with code 3"
    )


def test_a_folder_that_goes_with_the_program_is_not_named() -> None:
    run = run_of(failed(ValueError("boom"), 0), nprocs=1)
    run.logs.temporary = True
    assert "Logs" not in text_of(run)


def test_a_timeout() -> None:
    timeouts = [failed(RankTimeout(f"rank {rank} was still running"), rank, at=rank) for rank in (1, 2)]
    text = text_of(run_of(*timeouts, results=(0, 3), status="timed out"))
    assert text.startswith(
        "RanksFailed: the run was ended by its timeout; 2 of 4 ranks had not finished; results of ranks 0, 3 kept\n\n"
    )
    assert "ranks 1-2 were still running" in text
    assert issubclass(RankTimeout, TimeoutError)


def test_only_victims() -> None:
    text = text_of(run_of(failure(0, collateral=True), failure(1, collateral=True), nprocs=2, status="interrupted"))
    assert "ranks 0-1 were ended" in text
    assert text.endswith("Logs: /logs")


def test_a_plain_interpreter_prints_the_text_without_colours() -> None:
    root = failed(ValueError("boom"), 0, coloured="\x1b[31mred\x1b[0m")
    error = RanksFailed(run_of(root, nprocs=1))
    assert (error.failures, error.root_cause) == ({0: root}, root)
    assert "\x1b[31mred" in error._render_traceback_()[0]
    shown = "".join(traceback.format_exception(error))
    assert "\x1b" not in shown
    if hasattr(error, "__notes__"):
        assert "Cell In[5], line 1\nValueError: boom" in shown


def test_what_the_error_file_of_another_machine_holds_is_told(tmp_path: Path) -> None:
    there = str(tmp_path / "not here" / "error.json")
    contents = b'{"message": {"message": "ValueError: bad", "extraInfo": {"timestamp": "77"}}}'

    def told(found: ErrorFile | None) -> RankFailure:
        return RankFailure(local_rank=0, pid=7, exitcode=1, error_file=there, rank=0, _found=found)

    failure = told(ErrorFile(contents, 55.0))
    assert (failure.message, failure.timestamp, failure.error_file) == ("ValueError: bad", 77, there)
    unreadable = told(ErrorFile(b"", 55.0, "PermissionError: no"))
    assert (unreadable.timestamp, unreadable.error_file) == (55, there)
    assert unreadable.message == f"exited with code 1; its error file cannot be read (PermissionError: no): {there}"
    # a file that happens to lie at the same place here is not that of the rank
    here = tmp_path / "not here"
    here.mkdir()
    (here / "error.json").write_bytes(contents)
    none = told(None)
    assert (none.error_file, none.message.startswith("exited with code 1 and left no error file")) == ("<N/A>", True)
