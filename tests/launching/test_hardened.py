"""Launches that meet hostile objects, odd numbers and full surroundings."""

from __future__ import annotations

import os
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from nblaunch.engines.base import Plan
from nblaunch.engines.local import LocalEngine
from nblaunch.engines.local_ranks import LocalRanks
from nblaunch.launching.options import Options
from nblaunch.launching.prepare import prepare
from nblaunch.launching.session import Session, launch
from nblaunch.launching.source import Notebook
from nblaunch.magic.line import with_line_as_comment
from nblaunch.payload import ExceptionStandIn
from nblaunch.processes.starting.base import UNPREPARED
from nblaunch.processes.threads import VARIABLES
from nblaunch.runs.failures import RanksFailed, RankTimeout
from nblaunch.runs.run import Run


def run_cell(source: str, nprocs: int = 1, space: dict[str, Any] | None = None, **options: Any) -> Run:
    notebook = Notebook({"__name__": "__main__"} if space is None else space)
    return launch(source, nprocs, notebook=notebook, quiet=True, **options)


def test_a_timeout_longer_than_any_clock_call_takes() -> None:
    run = run_cell("rank", 2, timeout=1e9, grace=1e9)
    assert run.results == {0: 0, 1: 1}


@pytest.mark.parametrize("seconds", [float("inf"), float("nan"), 0, -1])
def test_a_timeout_that_is_no_time(seconds: float) -> None:
    with pytest.raises(ValueError, match="timeout is a number of seconds above 0"):
        run_cell("rank", timeout=seconds)


def test_a_timeout_names_the_ranks() -> None:
    run = run_cell("import time\nif rank: time.sleep(9999)\nrank", 2, timeout=0.3, grace=0.1)
    assert run.status == "timed out"
    assert run.results == {0: 0}
    assert isinstance(run.failures[1].exception, RankTimeout)
    assert not run.failures[1].collateral


MUTE = "class Mute(Exception):\n    def __str__(self): raise RuntimeError('no words')\n"


def test_a_value_that_refuses_without_words() -> None:
    (failure,) = run_cell(f"{MUTE}class Odd:\n    def __reduce__(self): raise Mute\nOdd()").failures.values()
    assert isinstance(failure.exception, TypeError)
    text = str(failure.exception)
    assert "a Odd, cannot be sent back: Mute: <its __str__ failed: RuntimeError('no words')>. End the cell" in text


def test_what_cannot_be_rebuilt_and_says_so_without_words() -> None:
    cell = (
        f"{MUTE}def fail(): raise Mute\n"
        "class Odd:\n    def __reduce__(self): return fail, ()\n"
        "class OddError(Exception):\n    def __reduce__(self): return fail, ()\n"
        "if rank: raise OddError('boom')\n"
        "Odd()"
    )
    failures = run_cell(cell, 2, on_failure="continue").failures
    text = "Mute: <its __str__ failed: RuntimeError('no words')>"
    assert failures[0].message == f"the value of rank 0 arrived but cannot be rebuilt in the notebook: {text}"
    stand_in = failures[1].exception
    assert isinstance(stand_in, ExceptionStandIn)
    assert (stand_in.type_name, stand_in.text) == ("OddError", "boom")


@pytest.mark.parametrize("kind", ["bytes", "bytearray"])
def test_a_large_value_is_shown_without_a_text_of_all_of_it(kind: str) -> None:
    run = run_cell(f"{{'data': [{kind}(4_000_000)]}}")
    tracemalloc.start()
    try:
        shown = run._repr_html_()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "… (4.0 MB)" in shown
    assert peak < 1_000_000


LEAVES = "class Leaves:\n    def __reduce__(self):\n        return __import__('sys').exit, (3,)\n"


def test_a_value_that_ends_the_interpreter_when_it_is_rebuilt() -> None:
    run = run_cell(f"{LEAVES}Leaves() if rank else 'fine'", 2)
    assert run.status == "failed"
    assert run.results == {0: "fine"}
    assert isinstance(run.failures[1].exception, SystemExit)
    assert "arrived but cannot be rebuilt in the notebook: SystemExit: 3" in run.failures[1].message


@pytest.mark.parametrize("then", ["sys.exit(3)", "exit(GeneratorExit())"])
def test_an_exception_that_ends_the_interpreter_when_it_is_read(then: str) -> None:
    cell = (
        "import sys\n"
        "def exit(error): raise error\n"
        f"class Leaving(Exception):\n    def __str__(self): {then}\n    __repr__ = __str__\n"
        "raise Leaving"
    )
    failure = run_cell(cell).failures[0]
    assert (type(failure.exception).__name__, failure.exitcode) == ("Leaving", 1)
    assert "Leaving: <str() of this exception failed>" in failure.summary()
    assert "Leaving" in failure.traceback


def test_an_exception_that_ends_the_interpreter_when_it_is_rebuilt() -> None:
    run = run_cell(f"{LEAVES}class Odd(Leaves, Exception):\n    pass\nraise Odd('odd')")
    stand_in = run.failures[0].exception
    assert isinstance(stand_in, ExceptionStandIn)
    assert str(stand_in).startswith("Odd: odd (the exception object itself could not be sent: SystemExit")


def test_a_value_is_kept_though_the_process_crashes_at_its_end() -> None:
    run = run_cell("import atexit, os\natexit.register(os._exit, 7)\n'computed'")
    assert run.ok
    assert run.results == {0: "computed"}


def test_what_a_rank_sends_back_wrongly_shows_no_frames_of_the_launcher() -> None:
    run = run_cell("loss = 1", collect=["lost"])
    assert run.failures[0].summary().startswith("NameError: there is no variable 'lost' to collect")
    assert "nblaunch" not in run.failures[0].traceback


def test_the_same_line_with_other_words_is_not_the_same() -> None:
    run = run_cell("raise ValueError(f'value {rank} is wrong')", 3)
    with pytest.raises(Exception, match="3 of 3 ranks failed") as raised:
        run.raise_for_failures()
    text = "\n".join(raised.value._render_traceback_())  # type: ignore[attr-defined]
    first = run.root_cause
    assert first is not None
    for rank in {0, 1, 2} - {first.rank}:
        assert f"rank {rank}: ValueError: value {rank} is wrong (from the same line)" in text


@pytest.mark.parametrize("more", [{"capture": ["x"]}, {"no_capture": True}])
def test_options_of_cells_are_refused_for_functions(more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="capture and no_capture are for cells"):
        launch(len, 1, args=("a",), **more)


THREADS = f"import os\n[os.environ.get(name) for name in {VARIABLES!r}]"


def test_threads_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    cores = len(os.sched_getaffinity(0))
    assert run_cell(THREADS).results[0] == [str(cores)] * len(VARIABLES)
    assert run_cell(THREADS, cores * 3).results[0] == ["1"] * len(VARIABLES)
    assert run_cell(THREADS, threads=7).results[0] == ["7"] * len(VARIABLES)


POOLS = "import numpy, threadpoolctl\n{pool['num_threads'] for pool in threadpoolctl.threadpool_info()}"


def test_variables_for_threads_that_the_user_has_set_are_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    cores = len(os.sched_getaffinity(0))
    assert run_cell(POOLS).results[0] == {cores}
    assert run_cell(POOLS, env={"OPENBLAS_NUM_THREADS": "1"}).results[0] == {1}
    assert run_cell("import numpy\n" + POOLS, threads=1).results[0] == {1}
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    assert run_cell(POOLS).results[0] == {1}


def test_the_variable_for_threads_that_others_fall_back_to_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    # OpenBLAS, MKL and NumExpr look for their own first
    alone = dict(zip(VARIABLES, run_cell(THREADS).results[0], strict=True))
    assert [name for name, value in alone.items() if value is not None] == ["OMP_NUM_THREADS"]
    cores = len(os.sched_getaffinity(0))
    assert run_cell(POOLS, cores).results[0] == {min(3, cores)}
    assert run_cell(POOLS, env={"OMP_NUM_THREADS": "1"}).results[0] == {1}
    assert run_cell(POOLS, cores, env={"MKL_NUM_THREADS": "1"}).results[0] == {min(3, cores)}


def test_files_beside_the_notebook_do_not_replace_the_standard_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "random", "queue", "socket", "token"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('the file of the user')")
    (tmp_path / "mine.py").write_text("value = 'mine'")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    for method in ("zygote", "forkserver", "spawn"):
        run = run_cell("import mine\nmine.value", start_method=method)
        assert run.results == {0: "mine"}, run.failures


def test_orders_are_taken_while_the_helper_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    from nblaunch.processes.gang.escalation import KILL
    from nblaunch.processes.gang.supervisor import Supervisor

    wait = Supervisor.wait_readable
    waiting_for: list[int] = []

    def ordered_to_end(supervisor: Supervisor, descriptor: int, seconds: float | None = None) -> None:
        waiting_for.append(descriptor)
        supervisor.orders.end("the test wants it", KILL)
        # nothing will ever arrive there: only the order can end the wait
        reader, writer = os.pipe()
        try:
            wait(supervisor, reader)
        finally:
            os.close(reader)
            os.close(writer)

    monkeypatch.setattr(Supervisor, "wait_readable", ordered_to_end)
    with pytest.raises(InterruptedError, match="ordered to end while its ranks were starting"):
        run_cell("rank", 2)
    assert len(waiting_for) == 1


@pytest.mark.parametrize(("order", "status"), [("stop", "stopped"), ("kill", "stopped"), ("interrupt", "interrupted")])
def test_a_run_that_is_ended_while_its_ranks_start(monkeypatch: pytest.MonkeyPatch, order: str, status: str) -> None:
    from nblaunch.processes.gang.supervisor import Supervisor

    session = Session(prepare("rank", 2, Options(panel="none"), Notebook({})), LocalEngine())
    wait = Supervisor.wait_readable

    def ended(supervisor: Supervisor, descriptor: int, seconds: float | None = None) -> None:
        getattr(session.run, order)()
        wait(supervisor, descriptor, seconds)

    monkeypatch.setattr(Supervisor, "wait_readable", ended)
    session.start_and_wait()
    run = session.run
    assert (run.status, run.results, sorted(run.failures)) == (status, {}, [0, 1])
    assert all(failure.collateral for failure in run.failures.values())
    assert run.root_cause is None
    with pytest.raises(RanksFailed, match=f"the run was {status} before 2 of 2 ranks had finished"):
        run.raise_for_failures()


@pytest.mark.parametrize(("order", "status"), [("stop", "stopped"), ("kill", "stopped"), ("interrupt", "interrupted")])
def test_a_run_that_is_ended_before_its_ranks_start(monkeypatch: pytest.MonkeyPatch, order: str, status: str) -> None:
    session = Session(prepare("rank", 2, Options(panel="none"), Notebook({})), LocalEngine())
    make = LocalRanks._make_gang
    gangs = []

    def ended(ranks: LocalRanks) -> Any:
        getattr(session.run, order)()
        gangs.append(make(ranks))
        return gangs[0]

    monkeypatch.setattr(LocalRanks, "_make_gang", ended)
    session.start_and_wait()
    run = session.run
    assert (run.status, run.results, run.pids, sorted(run.failures)) == (status, {}, {}, [0, 1])
    assert run.failures[1].summary() == "rank 1 was never started"
    assert gangs[0].join(0)


def test_a_start_that_is_refused_is_no_success() -> None:
    class Refusing(LocalEngine):
        def prepare(self, plan: Plan, on_event: Any) -> LocalRanks:
            class Ranks(LocalRanks):
                def start(self) -> None:
                    raise OSError("no more processes")

            return Ranks(plan, UNPREPARED, on_event)

    session = Session(prepare("rank", 2, Options(quiet=True), Notebook({})), Refusing())
    with pytest.raises(OSError, match="no more processes"):
        session.start()
    run = session.run
    assert (run.ok, run.status, run.results, sorted(run.failures)) == (False, "not started", {}, [0, 1])
    assert run.failures[1].summary() == "rank 1 was never started"
    with pytest.raises(RanksFailed):
        run.raise_for_failures()


FORKS = "import os\nchild = os.fork()\n"


def test_a_forked_child_does_not_speak_for_its_rank() -> None:
    run = run_cell(FORKS + "if child:\n    os.waitpid(child, 0)\nrank + 100", 2)
    assert run.results == {0: 100, 1: 101}, run.failures
    run = run_cell(FORKS + "if not child:\n    raise ValueError('of the child')\nos.waitpid(child, 0)\nrank", 2)
    assert run.results == {0: 0, 1: 1}, run.failures
    assert "ValueError: of the child" in run.logs[1].stderr


@pytest.mark.parametrize("line", ["%matplotlib inline", "%matplotlib agg", "%gui"])
def test_magics_that_ask_for_a_window_system(line: str) -> None:
    assert run_cell(f"{line}\nrank").results == {0: 0}


def test_an_indented_cell() -> None:
    for cell in ("    x = rank\n    x + 1", "\tx = rank\n\tx + 1", "\n\n  x = rank\n  x + 1"):
        assert run_cell(with_line_as_comment("2", cell), 2).results == {0: 1, 1: 2}


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "WORLD_SIZE"])
def test_what_is_each_ranks_own_cannot_be_set(name: str) -> None:
    with pytest.raises(ValueError, match=f"env sets {name}, which is each rank's own"):
        run_cell("rank", env={name: "7"})


def test_long_texts_are_cut_in_summaries_only() -> None:
    run = run_cell("raise ValueError('a' * 100_000)")
    assert len(run.failures[0].summary()) < 400
    assert len(str(run.failures[0].exception)) == 100_000


def test_crashes_alike_are_the_same() -> None:
    run = run_cell("import os\nos.abort()", 2)
    root = run.root_cause
    assert root is not None
    text = "\n".join(RanksFailed(run)._render_traceback_())
    assert f"rank {1 - root.rank}: the same" in text


def test_an_interrupt_just_before_the_ranks_are_started(monkeypatch: pytest.MonkeyPatch) -> None:
    from nblaunch.processes.gang.gang import Gang

    def interrupted(gang: Gang) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Gang, "start", interrupted)
    # it used to wait for ever for the end of ranks that nobody had started
    with pytest.raises(KeyboardInterrupt):
        run_cell("1", 2)
