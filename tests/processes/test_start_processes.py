"""What goes into processes and what comes back when all goes well."""

from __future__ import annotations

import gzip
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from nblaunch.processes import (
    DefaultLogsSpecs,
    MultiprocessContext,
    RunProcsResult,
    Std,
    SubprocessContext,
    start_processes,
)
from nblaunch.processes.api import PContext
from tests.processes import targets
from tests.processes.conftest import Launch
from tests.processes.targets import LIMIT, Announcements, Gate, assert_gone


def result_of(context: PContext) -> RunProcsResult:
    result = context.wait(LIMIT)
    assert result is not None, "the processes did not end"
    return result


@pytest.mark.parametrize("entrypoint", [targets.value, "true"])
def test_no_ranks_at_all(launch: Launch, method: str, entrypoint: Any) -> None:
    context = launch(entrypoint, {}, method)
    assert result_of(context) == RunProcsResult()
    assert context.pids() == {}
    context.close()


def test_values_come_back_by_rank(launch: Launch, method: str) -> None:
    context = launch(targets.value, {rank: (rank * 10, "x") for rank in range(3)}, method)
    assert isinstance(context, MultiprocessContext)
    assert context.nprocs == 3
    result = result_of(context)
    assert not result.is_failed()
    assert result == RunProcsResult(
        {0: (0, "x"), 1: (10, "x"), 2: (20, "x")}, {}, dict(context.stdouts), dict(context.stderrs)
    )
    assert context.wait() is result
    assert context.wait(0) is result


def test_more_than_ten_ranks_keep_their_numbers(launch: Launch, method: str) -> None:
    context = launch(targets.value, {rank: (rank,) for rank in range(12)}, method)
    assert result_of(context).return_values == {rank: rank for rank in range(12)}
    assert sorted(context.pids()) == list(range(12))
    assert len(set(context.pids().values())) == 12
    assert Path(context.stdouts[11]).parent.name == "11"


@pytest.mark.parametrize("how", ["forkserver", "binary"])
def test_many_ranks_at_once(launch: Launch, how: str) -> None:
    count = 64
    if how == "binary":
        result = result_of(launch("true", dict.fromkeys(range(count), ())))
        assert result.return_values == dict.fromkeys(range(count))
    else:
        result = result_of(launch(targets.value, {rank: (rank,) for rank in range(count)}, how))
        assert result.return_values == {rank: rank for rank in range(count)}


def test_surroundings_are_those_of_the_program(
    launch: Launch, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["program", "--flag", "x" * 200_000])  # longer than one argument may be
    monkeypatch.setenv("OUTER", "outer")
    monkeypatch.setenv("BOTH", "outer")
    names = ["OUTER", "BOTH", "OWN"]
    context = launch(
        targets.surroundings,
        {0: (names,), 1: (names,)},
        method,
        envs={0: {"BOTH": "rank 0", "OWN": "0"}, 1: {"BOTH": "rank 1 ä\n=x"}},
    )
    values = result_of(context).return_values
    assert values[0]["env"] == {"OUTER": "outer", "BOTH": "rank 0", "OWN": "0"}
    assert values[1]["env"] == {"OUTER": "outer", "BOTH": "rank 1 ä\n=x", "OWN": None}
    for rank in range(2):
        seen = values[rank]
        assert seen["cwd"] == str(work)
        assert seen["path"] == sys.path
        assert seen["argv"] == sys.argv
        assert seen["stdin"] == ""
        assert seen["pid"] == context.pids()[rank]
        assert seen["leads"]
        assert all(seen["handlers"].values()), seen["handlers"]
        assert seen["blocked"] == []
        assert seen["main_thread"]
    assert "OWN" not in os.environ


def test_each_rank_knows_its_error_file(launch: Launch, method: str) -> None:
    context = launch(
        targets.surroundings, {0: (["TORCHELASTIC_ERROR_FILE"],), 1: (["TORCHELASTIC_ERROR_FILE"],)}, method
    )
    values = result_of(context).return_values
    assert {rank: seen["env"]["TORCHELASTIC_ERROR_FILE"] for rank, seen in values.items()} == context.error_files
    assert not any(os.path.exists(file) for file in context.error_files.values())


def test_classes_keep_their_identity(launch: Launch, method: str) -> None:
    values = result_of(launch(targets.remote, {0: (5,)}, method)).return_values
    assert type(values[0]) is targets.Remote
    assert values[0].number == 5


def test_lambdas_and_closures_travel(launch: Launch, method: str) -> None:
    factor = 3

    class Local:
        pass

    def scaled(local: Local, number: int) -> tuple[Local, int]:
        return local, number * factor

    values = result_of(launch(scaled, {0: (Local(), 4)}, method)).return_values
    assert values[0][1] == 12
    if method != "fork":  # a class that has no name to be found by is the same only where it was sent to
        assert type(values[0][0]) is Local
    assert result_of(launch(lambda: factor + 1, {0: ()}, method)).return_values == {0: 4}


def test_a_returning_class_is_not_written_over(launch: Launch) -> None:
    class Counter:
        total = 1

    def send_back(counter: Counter) -> Counter:
        type(counter).total = 99
        return counter

    returned = result_of(launch(send_back, {0: (Counter(),)}, "spawn")).return_values[0]
    assert type(returned) is Counter
    assert Counter.total == 1


def test_large_arguments_and_values(launch: Launch, method: str) -> None:
    block = os.urandom(3 << 20)
    values = result_of(launch(targets.value, {0: (block,), 1: (block,)}, method)).return_values
    assert values == {0: block, 1: block}


def test_a_rank_may_launch_ranks(launch: Launch, method: str, tmp_path: Path) -> None:
    for inner in targets.METHODS:
        result = result_of(launch(targets.nested, {0: (inner, str(tmp_path / inner))}, method))
        assert result.return_values == {0: {0: 1, 1: 2}}, result.failures


def test_what_a_rank_wants_done_at_its_end_is_done(launch: Launch, method: str, tmp_path: Path) -> None:
    place = tmp_path / "end"
    result_of(launch(targets.write_at_exit, {0: (str(place),)}, method))
    assert place.read_text() == "atexit"
    assert Path(f"{place}.thread").read_text() == "thread"
    result_of(launch(targets.finalize_at_exit, {0: (str(place),)}, method))
    assert place.read_text() == "finalized"


def test_what_it_has_written_is_in_files_that_it_has_not_closed(launch: Launch, method: str, tmp_path: Path) -> None:
    assert not result_of(launch(targets.leave_files_open, {0: (str(tmp_path),)}, method)).is_failed()
    assert (tmp_path / "text").read_text() == "text"
    assert (tmp_path / "bytes").read_bytes() == b"bytes"
    with gzip.open(tmp_path / "packed", "rt") as file:
        assert file.read() == "packed"


def test_temporary_files_go_with_the_rank(launch: Launch, method: str, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    with tempfile.NamedTemporaryFile(dir=folder, prefix="parent") as parent:
        result = result_of(launch(targets.leave_temporary_files_open, {0: (str(folder),)}, method))
        assert len(result.return_values[0]) == 4, result.failures
        # what the parent has is none of the rank's
        (kept,) = (file for file in folder.iterdir() if str(file) != parent.name)
        assert (kept.name[:4], kept.read_text()) == ("kept", "kept")
        assert Path(parent.name).exists()


def test_strange_objects_keep_no_file_from_being_written(launch: Launch, method: str, tmp_path: Path) -> None:
    assert not result_of(
        launch(targets.leave_with_a_strange_object, {0: (str(tmp_path / "text"),)}, method)
    ).is_failed()
    assert (tmp_path / "text").read_text() == "text"


def test_a_daemon_that_writes_for_ever_keeps_no_rank(launch: Launch, tmp_path: Path) -> None:
    context = launch(targets.write_for_ever_in_a_daemon, {0: (str(tmp_path / "begun"),)}, "spawn")
    assert result_of(context).return_values == {0: None}


def test_what_the_parent_has_written_is_not_written_by_ranks_too(launch: Launch, method: str, tmp_path: Path) -> None:
    with open(tmp_path / "text", "w") as file:
        file.write("once")
        assert not result_of(launch(targets.value, {0: (1,), 1: (2,)}, method)).is_failed()
    assert (tmp_path / "text").read_text() == "once"


def test_children_of_the_program_are_not_those_of_its_ranks(launch: Launch, method: str) -> None:
    import multiprocessing

    sibling = multiprocessing.get_context("fork").Process(target=targets.block, daemon=True)
    sibling.start()
    try:
        assert result_of(launch(targets.children_of_multiprocessing, {0: ()}, method)).return_values == {0: 0}
        assert sibling.is_alive()
    finally:
        sibling.kill()
        sibling.join()
        sibling.close()


def test_the_default_start_method_of_multiprocessing_stays_open(launch: Launch) -> None:
    import multiprocessing

    multiprocessing.set_start_method(None, force=True)
    for method in targets.METHODS:
        result_of(launch(targets.value, {0: (1,)}, method))
    assert multiprocessing.get_start_method(allow_none=True) is None


# ---- output


def test_output_goes_to_the_log_files(launch: Launch, method: str) -> None:
    context = launch(targets.speak, {0: ("out 0", "err 0"), 1: ("out 1\n", "err 1\n")}, method)
    result = result_of(context)
    assert {rank: Path(file).read_text() for rank, file in result.stdouts.items()} == {0: "out 0", 1: "out 1\n"}
    assert {rank: Path(file).read_text() for rank, file in result.stderrs.items()} == {0: "err 0", 1: "err 1\n"}
    assert {Path(file).name for file in result.stdouts.values()} == {"stdout.log"}


def test_all_that_reaches_the_descriptor_is_logged(launch: Launch, method: str) -> None:
    context = launch(targets.speak_in_every_way, {0: ()}, method)
    result_of(context)
    assert Path(context.stdouts[0]).read_text() == "python\nc\nchild\nraw"


def test_streams_that_are_not_redirected_go_to_the_console(
    launch: Launch, method: str, capfd: pytest.CaptureFixture[str]
) -> None:
    context = launch(targets.speak, {0: ("out", "err"), 1: ("", "one")}, method, redirects={0: Std.OUT, 1: Std.ERR})
    result = result_of(context)
    assert result.stderrs[0] == result.stdouts[1] == ""
    assert Path(result.stdouts[0]).read_text() == "out"
    assert Path(result.stderrs[1]).read_text() == "one"
    assert capfd.readouterr() == ("", "err")


def test_tee_shows_whole_lines_behind_their_prefix(
    launch: Launch, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    context = launch(
        targets.speak,
        {rank: (f"a{rank}\nlast", f"e{rank}\n") for rank in range(2)},
        method,
        tee={0: Std.ALL, 1: Std.OUT},
    )
    result = result_of(context)
    out, err = capsys.readouterr()
    assert sorted(out.splitlines()) == ["[rank0]:a0", "[rank0]:last", "[rank1]:a1", "[rank1]:last"]
    assert err == "[rank0]:e0\n"
    assert Path(result.stdouts[0]).read_text() == "a0\nlast"
    assert Path(result.stderrs[1]).read_text() == "e1\n"


def test_prefixes_filters_and_shown_ranks(launch: Launch, capsys: pytest.CaptureFixture[str]) -> None:
    context = launch(
        "echo",
        {0: ("zero hit",), 1: ("one miss",), 2: ("two hit",)},
        tee=Std.ALL,
        local_ranks_filter={0, 1},
        log_line_prefixes={0: "<0> "},
        duplicate_stdout_filters=["hit", "never"],
        duplicate_stderr_filters=["hit"],
    )
    result = result_of(context)
    assert sorted(capsys.readouterr().out.splitlines()) == ["<0> zero hit", "[rank1]:one miss"]
    attempt = Path(result.stdouts[0]).parents[1]
    assert (attempt / "filtered_stdout.log").read_text() == "<0> zero hit\n"
    assert (attempt / "filtered_stderr.log").read_text() == ""
    assert context.filtered_stdout is not None
    assert context.filtered_stdout.closed
    assert Path(result.stdouts[2]).read_text() == "two hit\n"


def test_no_logs_at_all(capfd: pytest.CaptureFixture[str]) -> None:
    context = start_processes("rank", "echo", {0: ("hello",)}, {0: {}}, DefaultLogsSpecs(log_dir=os.devnull))
    assert result_of(context).return_values == {0: None}
    assert capfd.readouterr().out == "hello\n"


# ---- programs


def test_arguments_of_a_program_become_text(launch: Launch) -> None:
    context = launch("/bin/echo", {0: (1, 2.5, [1, 2]), 1: (None, "a b"), 2: ()})
    assert isinstance(context, SubprocessContext)
    result = result_of(context)
    assert result.return_values == {0: None, 1: None, 2: None}
    assert {rank: Path(file).read_text() for rank, file in result.stdouts.items()} == {
        0: "1 2.5 [1, 2]\n",
        1: "None a b\n",
        2: "\n",
    }


def test_a_program_gets_its_environment(launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTER", "outer")
    own = tmp_path / "bin"
    own.mkdir()
    program = own / "only-here"
    program.write_text('#!/bin/sh\necho "$OUTER $OWN"\n')
    program.chmod(0o700)
    envs = {rank: {"OWN": str(rank), "PATH": f"{own}:{os.environ['PATH']}"} for rank in range(2)}
    result = result_of(launch("only-here", {0: (), 1: ()}, envs=envs))
    assert [Path(result.stdouts[rank]).read_text() for rank in range(2)] == ["outer 0\n", "outer 1\n"]


# ---- waiting and closing


def test_wait_gives_none_while_ranks_run(launch: Launch, method: str, gate: Gate) -> None:
    context = launch(targets.wait_at, {0: (gate.path,)}, method)
    assert context.wait(0) is None
    assert context.wait(timeout=0.01, period=0.001) is None
    gate.open()
    assert result_of(context).return_values == {0: None}


def test_finished_ranks_are_gone_while_others_run(
    launch: Launch, method: str, announcements: Announcements, gate: Gate
) -> None:
    context = launch(
        targets.finish_or_block, {rank: (rank, announcements.path, gate.path) for rank in range(2)}, method
    )
    pids = context.pids()
    announcements.next_line()
    assert_gone([pids[0]])
    assert context.wait(0) is None
    assert context.pids() == pids
    gate.open()
    assert result_of(context).return_values == {0: 0, 1: 1}


def test_close_ends_running_ranks(launch: Launch, method: str, announcements: Announcements) -> None:
    context = launch(targets.announce_and_block, {0: (announcements.path,), 1: (announcements.path,)}, method)
    announcements.pids(2)
    context.close()
    context.close()
    assert_gone(list(context.pids().values()))
    result = result_of(context)
    assert {rank: failure.exitcode for rank, failure in result.failures.items()} == {0: -15, 1: -15}
    assert result.return_values == {}


def test_close_right_after_start(launch: Launch, method: str) -> None:
    old = signal.signal(signal.SIGTERM, lambda *_: None)  # which a forked rank must not run
    try:
        context = launch(targets.block, dict.fromkeys(range(3), ()), method)
        context.close()
        assert {failure.exitcode for failure in result_of(context).failures.values()} == {-15}
    finally:
        signal.signal(signal.SIGTERM, old)


def test_close_with_another_signal(launch: Launch, method: str, announcements: Announcements) -> None:
    context = launch(targets.announce_and_block, {0: (announcements.path,)}, method)
    announcements.next_line()
    context.close(death_sig=signal.SIGUSR1)
    assert result_of(context).failures[0].signal_name() == "SIGUSR1"


@pytest.mark.parametrize("target", [targets.ignore_sigterm, targets.stop_oneself])
def test_close_ends_ranks_that_do_not_want_to(
    launch: Launch, method: str, announcements: Announcements, target: Any
) -> None:
    context = launch(target, {0: (announcements.path,)}, method)
    announcements.next_line()
    context.close(timeout=0)
    assert result_of(context).failures[0].exitcode in (-9, -15)
    assert_gone(list(context.pids().values()))


def test_close_of_a_finished_run_keeps_its_result(launch: Launch, method: str) -> None:
    context = launch(targets.value, {0: (1,)}, method)
    result = result_of(context)
    context.close()
    assert context.wait() is result


def test_life_before_start(tmp_path: Path) -> None:
    def new() -> MultiprocessContext:
        specs = DefaultLogsSpecs(log_dir=str(tmp_path))
        return MultiprocessContext("rank", targets.value, {0: (1,)}, {0: {}}, "fork", specs)

    context = new()
    with pytest.raises(RuntimeError, match=r"wait\(\) was called before start\(\)"):
        context.wait()
    with pytest.raises(RuntimeError, match=r"pids\(\) was called before start\(\)"):
        context.pids()
    context.start()
    with pytest.raises(ValueError, match=r"start\(\) was called twice"):
        context.start()
    assert result_of(context).return_values == {0: 1}
    closed = new()
    closed.close()
    closed.close()
    with pytest.raises(ValueError, match=r"start\(\) was called after close\(\)"):
        closed.start()


def test_a_gang_outlives_the_thread_that_started_it(launch: Launch, method: str, gate: Gate) -> None:
    contexts: list[PContext] = []

    def start() -> None:
        contexts.append(launch(targets.wait_at, {0: (gate.path,)}, method))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    gate.open()
    assert result_of(contexts[0]).return_values == {0: None}


def test_several_gangs_at_once(launch: Launch, gate: Gate) -> None:
    contexts = [launch(targets.wait_at, {0: (gate.path,)}, method) for method in targets.METHODS]
    gate.open()
    assert [result_of(context).return_values for context in contexts] == [{0: None}] * len(targets.METHODS)


def test_start_processes_is_for_keywords_too(tmp_path: Path) -> None:
    context = start_processes(
        name="x", entrypoint="true", args={0: ()}, envs={0: {}}, logs_specs=DefaultLogsSpecs(log_dir=str(tmp_path))
    )
    result = context.wait()
    assert result is not None
    assert result.return_values == {0: None}
