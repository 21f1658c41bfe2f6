"""`nblaunch.launch` without a notebook: from a plain script, with functions and with source text."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import IPython
import pytest

import nblaunch
from nblaunch.capture import CaptureError
from nblaunch.engines.base import Plan
from nblaunch.engines.local import LocalEngine
from nblaunch.launching.session import launch
from nblaunch.launching.source import Notebook
from nblaunch.runs.run import Run


def script(source: str, tmp_path: Path, *, expected: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own."""
    path = tmp_path / "program.py"
    path.write_text(source)
    done = subprocess.run(
        [sys.executable, "-W", "error", path], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == expected, done.stderr
    # what is said when the first ranks take more than a second, as on a busy machine
    done.stderr = re.sub(r"^getting ready.*\n", "", done.stderr, flags=re.MULTILINE)
    return done


@pytest.fixture
def space() -> dict[str, Any]:
    return {"__name__": "__main__"}


def run_cell(source: str, nprocs: int, space: dict[str, Any], **options: Any) -> Run:
    return launch(source, nprocs, notebook=Notebook(space), quiet=True, **options)


# ---- plain scripts


def test_functions_of_a_script(tmp_path: Path) -> None:
    done = script(
        "import os\n"
        "from dataclasses import dataclass\n"
        "import nblaunch\n"
        "factor = 10\n"
        "@dataclass\n"
        "class Point:\n"
        "    x: int\n"
        "def helper(x): return x * factor\n"
        "def work(x, point):\n"
        "    print('rank', os.environ['RANK'])\n"
        "    return helper(x) + int(os.environ['RANK']), Point(point.x + rank)\n"
        "run = nblaunch.launch(work, 2, args=(5, Point(1)))\n"
        "assert run.ok and run.results == {0: (50, Point(1)), 1: (51, Point(2))}, run.failures\n"
        "assert type(run.results[1][1]) is Point\n"
        "print(run.status, sorted(run.pids))\n",
        tmp_path,
    )
    assert sorted(done.stdout.splitlines()) == ["[0] rank 0", "[1] rank 1", "finished [0, 1]"]
    assert done.stderr == ""


def test_a_script_needs_no_main_guard_and_may_use_every_start_method(tmp_path: Path) -> None:
    done = script(
        "import nblaunch\n"
        "print('once')\n"
        "for method in ('zygote', 'forkserver', 'spawn', 'fork'):\n"
        "    print(nblaunch.launch(lambda: rank + 1, 2, start_method=method).results)\n"
        "    print(nblaunch.launch('rank + 2', 2, start_method=method).results)\n",
        tmp_path,
    )
    assert done.stdout == "once\n" + 4 * "{0: 1, 1: 2}\n{0: 2, 1: 3}\n"


def test_an_uncaught_failure_of_a_script_reads_well(tmp_path: Path) -> None:
    done = script(
        "import nblaunch\ndef work():\n    return 1 / 0\nnblaunch.launch(work, 2, check=True)\n", tmp_path, expected=1
    )
    assert "RanksFailed: 2 of 2 ranks failed; rank " in done.stderr
    if sys.version_info >= (3, 11):
        assert f'File "{tmp_path}/program.py", line 3, in work' in done.stderr
        assert "ZeroDivisionError: division by zero" in done.stderr
        assert ": the same" in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize("options", ["", ", quiet=True"])
def test_a_script_that_waits_later_is_told_of_a_failure(tmp_path: Path, options: str) -> None:
    done = script(
        "import nblaunch, os\n"
        "def work():\n"
        "    print('begun', flush=True)\n"
        "    return 1 / int(os.environ['RANK'])\n"
        f"run = nblaunch.launch(work, 2, wait=False, on_failure='continue'{options})\n"
        "assert run.wait() and run.results == {1: 1.0}\n"
        "run.wait()\n",
        tmp_path,
    )
    assert sorted(done.stdout.splitlines()) == ([] if options else ["[0] begun", "[1] begun"])
    told = done.stderr.splitlines()
    assert re.fullmatch(
        r"launch\(work, 2\): 1 of 2 ranks failed, \d+\.\d s, results of rank 1, root cause: rank 0, "
        "ZeroDivisionError: division by zero",
        told[0],
    )
    assert told[1:3] == ["", "Rank 0 failed first:"]
    assert done.stderr.count("Traceback (most recent call last)") == 1
    assert "\x1b" not in done.stderr


def test_a_script_that_stops_its_ranks_knows_that(tmp_path: Path) -> None:
    done = script(
        "import nblaunch\n"
        "run = nblaunch.launch('import time\\ntime.sleep(600)', 2, wait=False)\n"
        "run.stop()\n"
        "run.wait()\n",
        tmp_path,
    )
    assert done.stderr == ""


def test_a_script_that_ends_first_leaves_nothing(tmp_path: Path) -> None:
    done = script(
        "import nblaunch, os, tempfile\n"
        "run = nblaunch.launch('import time\\ntime.sleep(600)', 2, wait=False)\n"
        "print(*run.pids.values())\n"
        "print(run.logs.root)\n",
        tmp_path,
    )
    pids, logs = done.stdout.splitlines()
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids.split())
    assert not os.path.exists(logs)


def test_a_script_that_is_interrupted(tmp_path: Path) -> None:
    source = (
        "import nblaunch, os, psutil, signal, threading\n"
        "from nblaunch.processes.starting.zygotes import ZYGOTES\n"
        "def work():\n"
        "    open(os.environ['RANK'], 'w').close()\n"
        "    threading.Event().wait()\n"
        "def interrupt():\n"
        "    import time\n"
        "    while not (os.path.exists('0') and os.path.exists('1')): time.sleep(0.005)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "os.chdir(os.path.dirname(__file__))\n"
        "threading.Thread(target=interrupt, daemon=True).start()\n"
        "try:\n"
        "    nblaunch.launch(work, 2)\n"
        "except KeyboardInterrupt:\n"
        "    ZYGOTES.close()\n"
        "    print(psutil.Process().children(recursive=True), signal.getsignal(signal.SIGINT).__name__)\n"
    )
    assert script(source, tmp_path).stdout == "[] default_int_handler\n"


def test_importing_is_light(tmp_path: Path) -> None:
    done = script(
        "import sys, nblaunch\n"
        "assert not any(name.startswith(('IPython', 'nblaunch.', 'torch', 'numpy')) for name in sys.modules)\n"
        "nblaunch.launch\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "assert not loaded & {'IPython', 'torch', 'numpy', 'ipywidgets'}\n"
        "print(sorted(set(dir(nblaunch)) & {'launch', 'Run'}))\n",
        tmp_path,
    )
    assert done.stdout == "['Run', 'launch']\n"


def test_unknown_names() -> None:
    with pytest.raises(AttributeError, match="module 'nblaunch' has no attribute 'lunch'"):
        _ = nblaunch.lunch


# ---- source text


def test_source_takes_what_it_names(space: dict[str, Any]) -> None:
    exec("base = 5\ndef f(x): return x + base", space)
    run = run_cell("value = f(rank)\nvalue", 2, space, collect=["value"])
    assert (run.results, run.collected, run.ok, run.status) == ({0: 5, 1: 6}, {"value": {0: 5, 1: 6}}, True, "finished")
    run.raise_for_failures()


def test_what_a_cell_writes_is_not_kept_in_memory(space: dict[str, Any]) -> None:
    cell = (
        "import gc, sys\n"
        "text = 'a line that is searched for'\n"
        "for number in range(1000): print(text, number)\n"
        "kept = [one for one in gc.get_objects() if isinstance(one, list) and len(one) >= 1000 and text in one[:1]]\n"
        "len(kept), sys.stdout.write.__qualname__"
    )
    run = run_cell(cell, 1, space)
    assert run.results == {0: (0, "_Stream.write")}
    assert run.logs[0].stdout.count("a line") == 1000


def test_the_last_semicolon_of_the_cell_decides(space: dict[str, Any]) -> None:
    """And not that of another cell, which a magic or the cell itself runs meanwhile."""
    cells = {
        "5": 5,
        "5;": None,
        "5; # a number": None,
        "%time 5": 5,
        # IPython 7 looks for the semicolon in what %time is given
        **({"%time 5;": None} if IPython.version_info[0] >= 8 else {}),
        "get_ipython().run_cell('1;')\n5": 5,
        "get_ipython().run_cell('1')\n5;": None,
    }
    for cell, value in cells.items():
        assert nblaunch.launch(cell, 1, notebook=Notebook(space), quiet=True).results == {0: value}, cell


def test_failures_are_there_without_check_and_raise_with_it(space: dict[str, Any]) -> None:
    run = run_cell("1 / 0", 1, space)
    assert (run.ok, run.status, list(run.failures)) == (False, "failed", [0])
    assert run.root_cause is run.failures[0]
    with pytest.raises(nblaunch.RanksFailed, match="1 of 1 rank failed; rank 0 first: ZeroDivisionError"):
        run.raise_for_failures()
    with pytest.raises(nblaunch.RanksFailed) as raised:
        run_cell("1 / 0", 1, space, check=True)
    assert raised.value.run.status == "failed"
    assert raised.value.failures is raised.value.run.failures


def test_waiting_in_the_background(space: dict[str, Any]) -> None:
    run = run_cell("import threading\nthreading.Event().wait()", 2, space, wait=False, grace=0.1)
    assert (run.status, run.ok, run.results, run.wait(timeout=0)) == ("running", False, {}, False)
    assert repr(run).startswith("<Run: 2 ranks running, ")
    assert "running" in run._repr_html_()
    run.raise_for_failures()  # nothing has failed yet
    run.stop()
    assert run.wait()
    assert run.status == "stopped"
    assert [f.signal_name() for f in run.failures.values()] == ["SIGTERM", "SIGTERM"]
    assert [f.collateral for f in run.failures.values()] == [True, True]
    for too_late in (run.stop, run.kill, run.interrupt):
        too_late()
    assert run.status == "stopped"


def test_killing_in_the_background(space: dict[str, Any]) -> None:
    run = run_cell("import threading\nthreading.Event().wait()", 1, space, wait=False)
    run.kill()
    run.wait()
    assert run.failures[0].signal_name() == "SIGKILL"


def test_awaiting(space: dict[str, Any]) -> None:
    async def both() -> list[dict[int, Any]]:
        runs = [run_cell(f"rank + {n}", 2, space, wait=False) for n in (1, 2)]
        return [run.results for run in await asyncio.gather(*(_settled(run) for run in runs))]

    assert asyncio.run(both()) == [{0: 1, 1: 2}, {0: 2, 1: 3}]


def test_whoever_gives_up_awaiting_waits_no_longer(space: dict[str, Any]) -> None:
    run = run_cell("import threading\nthreading.Event().wait()", 1, space, wait=False)

    async def for_a_moment() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(_settled(run), 0.01)
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("asyncio")]

    # it returns although the ranks go on
    asyncio.run(for_a_moment())
    assert run.status == "running"
    run.kill()

    async def to_the_end() -> Run:
        return await run

    assert asyncio.run(to_the_end()) is run
    assert run.status == "stopped"
    assert asyncio.run(to_the_end()) is run, "one that has ended"


async def _settled(run: Run) -> Run:
    return await run


def test_launching_in_a_thread(space: dict[str, Any]) -> None:
    found: list[Run] = []
    thread = threading.Thread(target=lambda: found.append(run_cell("rank", 2, space)))
    thread.start()
    thread.join()
    assert found[0].results == {0: 0, 1: 1}


def test_logs_go_with_the_run(space: dict[str, Any], tmp_path: Path) -> None:
    run = run_cell("print('x')", 1, space)
    root = run.logs.root
    assert (run.logs[0].stdout, run.logs[0].stderr, len(run.logs)) == ("x\n", "", 1)
    assert repr(run.logs) == f"Logs({run.logs.path!r})"
    assert repr(run.logs[0]) == f"RankLogs({run.logs[0].path!r})"
    del run
    gc.collect()
    for thread in threading.enumerate():
        if thread.name == "nblaunch-logs":
            thread.join()
    assert not os.path.exists(root)

    kept = run_cell("print('x')", 1, space, log_dir=str(tmp_path / "kept")).logs[0].path
    gc.collect()
    assert Path(kept, "stdout.log").read_text() == "x\n"


def test_re_raising_where_nothing_knows_notebooks(space: dict[str, Any]) -> None:
    failure = run_cell("def f():\n    return 1 / 0\nf()", 1, space).failures[0]
    assert failure.exception is not None
    frames = traceback.extract_tb(failure.exception.__traceback__)
    assert [frame.lineno for frame in frames][-2:] == [3, 2]
    with pytest.raises(ZeroDivisionError):
        raise failure.exception


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (("1", 0), {}, ValueError, "nprocs is the number of ranks, a whole number of at least 1, not 0"),
        (("1", True), {}, ValueError, "nprocs is the number of ranks, a whole number of at least 1, not True"),
        (("1", 2.0), {}, ValueError, "nprocs is the number of ranks, a whole number of at least 1, not 2.0"),
        (("  \n", 1), {}, ValueError, "the cell is empty: there is nothing to run on the ranks"),
        ((5, 1), {}, TypeError, "launch takes a function or the source of a cell as str, not a int"),
        (("1", 1), {"timeout": 0}, ValueError, "timeout is a number of seconds above 0, not 0"),
        (("1", 1), {"timeout": float("nan")}, ValueError, "timeout is a number of seconds above 0, not nan"),
        (("1", 1), {"grace": -1}, ValueError, "grace is a number of seconds, 0 or more, not -1"),
        (("1", 1), {"on_failure": "x"}, ValueError, "on_failure is 'stop' or 'continue', not 'x'"),
        (
            ("1", 1),
            {"start_method": "x"},
            ValueError,
            "unknown start_method 'x': choose one of 'zygote', 'forkserver', 'spawn', 'fork'",
        ),
        (("1", 1), {"threads": 0}, ValueError, "threads is a number of threads per rank, at least 1, not 0"),
        (("1", 1), {"args": (1,)}, ValueError, "args are for a function; a cell takes its variables from the notebook"),
        (
            ("1", 1),
            {"capture": ["nothing"]},
            NameError,
            "--capture names 'nothing', which the notebook does not define: define it first or leave it out",
        ),
        (("x = (", 1), {}, SyntaxError, r"'\(' was never closed"),
    ],
)
def test_arguments_that_make_no_sense(
    arguments: tuple[Any, Any],
    options: dict[str, Any],
    error: type[Exception],
    message: str,
    space: dict[str, Any],
) -> None:
    with pytest.raises(error, match=message if error is SyntaxError else f"^{_escaped(message)}$"):
        run_cell(*arguments, space, **options)


def _escaped(text: str) -> str:
    return text.replace("(", r"\(").replace(")", r"\)").replace(".", r"\.")


def test_a_log_dir_that_is_a_file(tmp_path: Path, space: dict[str, Any]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="is a file: name a folder, which may be a new one"):
        run_cell("1", 1, space, log_dir=str(tmp_path / "file"))


def test_arguments_that_cannot_travel(space: dict[str, Any]) -> None:
    space["lock"] = threading.Lock()
    with pytest.raises(CaptureError, match="line 1 uses 'lock', which cannot be sent to the ranks"):
        run_cell("lock", 1, space)
    with pytest.raises(CaptureError, match=r"args\[1\]"):
        launch(print, 1, args=(1, threading.Lock()), quiet=True)


def test_another_engine(space: dict[str, Any]) -> None:
    plans: list[Plan] = []

    class Recording(LocalEngine):
        def prepare(self, plan: Plan, on_event: Any) -> Any:
            plans.append(plan)
            return super().prepare(plan, on_event)

    run = run_cell("rank", 2, space, engine=Recording(), timeout=30, grace=1.5, env={"A": "1"})
    assert run.results == {0: 0, 1: 1}
    assert (plans[0].nprocs, plans[0].timeout, plans[0].grace, plans[0].stop_on_failure) == (2, 30, 1.5, True)
    assert plans[0].env["A"] == "1"


def test_an_engine_that_cannot_start_leaves_nothing(space: dict[str, Any], tmp_path: Path) -> None:
    class Refusing(LocalEngine):
        def prepare(self, plan: Plan, on_event: Any) -> Any:
            raise OSError("no more processes")

    with pytest.raises(OSError, match="no more processes"):
        launch("1", 1, notebook=Notebook(space), engine=Refusing())


def test_a_defect_of_the_supervision_is_told(
    space: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from nblaunch.processes.gang.supervisor import Supervisor

    working = Supervisor._time_to_deadline

    def broken(self: Supervisor) -> float | None:
        if any(rank.reported for rank in self.ranks.values()):
            raise RuntimeError("a defect")
        return working(self)

    monkeypatch.setattr(Supervisor, "_time_to_deadline", broken)
    with pytest.raises(RuntimeError) as raised:
        # its own log folder, because pytest keeps what was logged, and with it the run, for its report
        run_cell("if rank:\n    import time\n    time.sleep(600)", 2, space, log_dir=str(tmp_path))
    text = str(raised.value)
    assert text.startswith("nblaunch failed while it watched the ranks; they were killed:\nTraceback ")
    assert text.rstrip().endswith("RuntimeError: a defect")
