"""What a notebook shows and holds when ranks fail."""

from __future__ import annotations

import re
from pathlib import Path

import IPython
import pytest

from tests.kernel import Kernel, without_escapes

pytestmark = pytest.mark.kernel

# Fails in the rank that is named, while the others wait for it; `first` is over when it was.
WAIT = "import threading\nif rank != {rank}: threading.Event().wait()\n"


def test_lines_are_those_of_the_cell_in_the_notebook(kernel: Kernel) -> None:
    kernel.run("x = 1\n\ndef helper(n):\n    y = n * 2\n    return y / 0\n").ok()
    kernel.run("def caller(n):\n    return helper(n + 1)").ok()
    reply = kernel.run("%%multiproc 1\n\n# a comment\nvalue = caller(3)\nvalue")
    n = reply.count
    assert f"Cell In[{n}], line 4\n" in reply.traceback
    assert re.search(rf"Cell In\[{n}\], line 4\n.*----> 4 value = caller\(3\)\n +5 value", reply.traceback, re.DOTALL)
    assert f"Cell In[{n - 1}], line 2, in caller(n)" in reply.traceback
    assert f"Cell In[{n - 2}], line 5, in helper(n)" in reply.traceback
    assert re.search(r"3 def helper\(n\):\n +4 +y = n \* 2\n----> 5 +return y / 0", reply.traceback)
    assert reply.traceback.count("ZeroDivisionError: division by zero") == 1
    for own in ("nblaunch/rank", "interactiveshell.py", "run_cell_magic"):
        assert own not in reply.traceback
    text: str = kernel.value("failures[0].traceback")
    assert "\x1b" not in text
    assert text.strip() in reply.traceback


@pytest.mark.parametrize("raises", ["int('x')", "int(input())", "missing['key']"])
def test_of_what_an_exception_was_raised_from_the_line_is_shown_that_raised(kernel: Kernel, raises: str) -> None:
    cell = f"missing = {{}}\ntry:\n    {raises}\nexcept Exception as error:\n    "
    kernel.run(f"%%multiproc 1 --no-raise\n{cell}raise OSError from error").ok()
    first, _, second = kernel.value("failures[0].traceback").partition("The above exception")
    assert f"----> 4     {raises}" in first
    assert "----> 6     raise OSError from error" in second


@pytest.mark.skipif(IPython.version_info[0] < 8, reason="IPython 7 names the files of cells")
def test_raising_the_exception_again_shows_the_frames_of_the_rank(kernel: Kernel) -> None:
    kernel.run("def helper(n):\n    return 1 / n").ok()
    failed = kernel.run("%%multiproc 1 --no-raise\nzero = 0\nhelper(zero)").ok()
    reply = kernel.run("raise failures[0].exception")
    assert reply.ename == "ZeroDivisionError"
    assert f"Cell In[{failed.count}], line 3" in reply.traceback
    assert "----> 3 helper(zero)" in reply.traceback
    assert f"Cell In[{failed.count - 1}], line 2" in reply.traceback
    assert "----> 2     return 1 / n" in reply.traceback
    caught = kernel.run("try:\n    raise failures[0].exception\nexcept ZeroDivisionError as e:\n    print('caught', e)")
    assert caught.ok().stdout == "caught division by zero\n"


@pytest.mark.skipif(IPython.version_info[0] < 8, reason="on IPython 7 %%time shows what its cell raises and goes on")
def test_a_nested_cell_magic_names_its_lines(kernel: Kernel) -> None:
    reply = kernel.run("%%multiproc 1\n%%time\nx = 1\n1 / 0")
    assert "ZeroDivisionError: division by zero" in reply.traceback
    assert "1 / 0" in reply.traceback


def test_run_all_stops(kernel: Kernel) -> None:
    failing = kernel.begin("%%multiproc 2\n1 / 0")
    after = kernel.begin("reached = True")
    assert failing.finish().status == "error"
    assert after.finish().status == "aborted"
    assert kernel.value("'reached' in globals()") is False


def test_the_message_has_root_cause_others_and_logs(kernel: Kernel) -> None:
    reply = kernel.run(
        "%%multiproc 4 --grace 0.1\nimport threading\nif rank == 2: raise ValueError('boom')\nthreading.Event().wait()"
    )
    head, rest = reply.traceback.split("\n\nRank 2 failed first:\n")
    assert head.startswith(
        "RanksFailed: 1 of 4 ranks failed\n\nranks 0-1, 3 were ended because of that\n\n"
        "Where they were when rank 2 failed:\n  rank"
    )
    assert rest.splitlines()[-1] == "ValueError: boom", "the last line is the one that many a log shows alone"
    assert "Logs" not in reply.traceback, "the folder goes with the kernel"
    logs = Path(kernel.value("failures[2].error_file")).parents[1]
    assert sorted(path.name for path in logs.iterdir()) == ["0", "1", "2", "3"]
    assert (logs / "2" / "error.json").exists()
    assert reply.evalue == "1 of 4 ranks failed; rank 2 first: ValueError: boom"
    assert kernel.value("{r: (f.collateral, f.signal_name()) for r, f in failures.items() if r != 2}") == dict.fromkeys(
        (0, 1, 3), (True, "SIGTERM")
    )


def test_ranks_that_fail_alike_are_folded(kernel: Kernel) -> None:
    reply = kernel.run("%%multiproc 4\nraise KeyError('k')")
    first = re.search(r"Rank (\d) failed first", reply.traceback)
    assert first is not None
    others = {"0": "ranks 1-3", "1": "ranks 0, 2-3", "2": "ranks 0-1, 3", "3": "ranks 0-2"}[first[1]]
    assert f"\n\n{others}: the same as rank " in reply.traceback
    assert kernel.value("[f.exception.args for f in failures.values()]") == [("k",)] * 4


def test_ranks_that_fail_differently_are_told_apart(kernel: Kernel) -> None:
    reply = kernel.run(
        "%%multiproc 2 --on-failure continue\n"
        "import os, time\n"
        "if rank == 0:\n"
        "    1 / 0\n"
        "while not os.path.exists(os.environ['TORCHELASTIC_ERROR_FILE'].replace('/1/', '/0/')):\n"
        "    time.sleep(0.005)\n"
        "int('x')"
    )
    assert reply.traceback.startswith("RanksFailed: 2 of 2 ranks failed\n\nrank 1: ValueError")
    assert "\n\nRank 0 failed first:\n" in reply.traceback
    assert reply.traceback.splitlines()[-1] == "ZeroDivisionError: division by zero"
    assert (
        f"rank 1: ValueError: invalid literal for int() with base 10: 'x' (Cell In[{reply.count}], line 7)"
        in reply.traceback
    )
    assert kernel.value("[type(f.exception).__name__ for f in failures.values()]") == [
        "ZeroDivisionError",
        "ValueError",
    ]


def test_the_exception_carries_the_run(kernel: Kernel) -> None:
    kernel.run("import nblaunch").ok()
    kernel.run(
        "try:\n"
        "    get_ipython().run_cell_magic('multiproc', '2', '1 / rank')\n"
        "except nblaunch.RanksFailed as error:\n"
        "    caught = error"
    ).ok()
    assert kernel.value("(caught.failures is failures, caught.root_cause is failures[0], caught.run.results)") == (
        True,
        True,
        {1: 1.0} if kernel.value("1 in results") else {},
    )


@pytest.mark.parametrize(
    ("death", "summary", "exitcode", "signal"),
    [
        ("os._exit(3)", "exited with code 3", 3, "<N/A>"),
        ("os._exit(0)", "exited with code 0 before it had returned a value: something called os._exit(0)", 0, "<N/A>"),
        ("os.kill(os.getpid(), 9)", "SIGKILL", -9, "SIGKILL"),
        ("os.kill(os.getpid(), 11)", "SIGSEGV", -11, "SIGSEGV"),
        ("os.abort()", "SIGABRT", -6, "SIGABRT"),
    ],
)
def test_the_last_words_before_a_crash_are_shown(
    kernel: Kernel, death: str, summary: str, exitcode: int, signal: str
) -> None:
    reply = kernel.run(
        "%%multiproc 2 --grace 0.1\n"
        "import os, threading\n"
        "if rank == 0: threading.Event().wait()\n"
        "print('last print')\n"
        "os.write(2, b'raw, and not even a whole line')\n"
        f"{death}"
    )
    assert reply.stdout == "[1] last print\n"
    # after SIGSEGV and SIGABRT Python's own report of the crash follows
    assert reply.stderr.startswith("[1] raw, and not even a whole line")
    text = reply.traceback
    assert text.startswith("RanksFailed: 1 of 2 ranks failed\n\nrank 0 was ended because of that\n\n")
    assert "\n\nRank 1 failed first:\n" in text
    assert summary in text.splitlines()[-1]
    assert "The last lines of its stderr:\n  | " in text
    assert "rank 0 was ended because of that" in text
    if signal in ("SIGSEGV", "SIGABRT"):
        # where in the cell it was
        assert f"  Cell In[{reply.count}], line 6\n" in text
        assert f"Cell In[{reply.count}], line 6" in kernel.value("failures[1].traceback")
    found = kernel.value(
        "[(f.exitcode, f.signal_name(), f.exception, f.stdout_tail, f.rank, f.local_rank) for f in [failures[1]]]"
    )
    assert found == [(exitcode, signal, None, "last print", 1, 1)]
    assert kernel.value("failures[1].stderr_tail.splitlines()[0]") == "raw, and not even a whole line"


def test_threads_that_die_do_not_fail_the_rank(kernel: Kernel) -> None:
    reply = kernel.run(
        "%%multiproc 1\nimport threading\nt = threading.Thread(target=lambda: 1 / 0)\nt.start(); t.join()\n'fine'"
    ).ok()
    assert "ZeroDivisionError" in reply.stderr
    assert kernel.value("results") == {0: "fine"}


def test_exceptions_keep_their_class_cause_and_notes(kernel: Kernel) -> None:
    kernel.run(
        "class TwoPart(Exception):\n"
        "    def __init__(self, code, *, where):\n"
        "        super().__init__(f'{code} at {where}')\n"
        "        self.code, self.where = code, where\n"
        "class Base(BaseException): pass\n"
    ).ok()
    kernel.run(
        "%%multiproc 1 --no-raise\n"
        "try:\n"
        "    {}['missing']\n"
        "except KeyError as error:\n"
        "    problem = TwoPart(7, where='here')\n"
        "    problem.__notes__ = ['look here']\n"
        "    raise problem from error"
    ).ok()
    assert kernel.value(
        "[(type(e) is TwoPart, e.code, e.where, str(e), repr(e.__cause__), e.__notes__) "
        "for e in [failures[0].exception]]"
    ) == [(True, 7, "here", "7 at here", "KeyError('missing')", ["look here"])]
    text: str = kernel.value("failures[0].traceback")
    assert "The above exception was the direct cause of the following exception" in text
    assert "KeyError: 'missing'" in text
    assert "TwoPart: 7 at here" in text

    kernel.run("%%multiproc 1 --no-raise\nraise Base('not an Exception')").ok()
    assert kernel.value("(type(failures[0].exception) is Base, failures[0].exitcode)") == (True, 1)


def test_exceptions_of_classes_of_the_cell(kernel: Kernel) -> None:
    reply = kernel.run("%%multiproc 1\nclass Mine(ValueError): extra = 5\nraise Mine('own')")
    assert "Mine: own" in reply.traceback
    assert kernel.value(
        "[(type(e).__name__, e.extra, isinstance(e, ValueError)) for e in [failures[0].exception]]"
    ) == [("Mine", 5, True)]


def test_exception_groups(kernel: Kernel) -> None:
    reply = kernel.run(
        "%%multiproc 1\nimport asyncio\nasync def bad(n): raise ValueError(n)\n"
        "errors = await asyncio.gather(bad(1), bad(2), return_exceptions=True)\n"
        "raise ExceptionGroup('both', errors)"
    )
    assert "ExceptionGroup: both (2 sub-exceptions)" in reply.traceback
    assert "ValueError: 2" in reply.traceback
    assert kernel.value("[e.args for e in failures[0].exception.exceptions]") == [(1,), (2,)]


def test_an_exception_that_cannot_travel_has_a_stand_in(kernel: Kernel) -> None:
    reply = kernel.run(
        "%%multiproc 1\nimport threading\nproblem = RuntimeError('boom')\n"
        "problem.lock = threading.Lock()\nraise problem"
    )
    assert "RuntimeError: boom" in reply.traceback
    assert f"Cell In[{reply.count}], line 5" in reply.traceback
    assert kernel.value("[(type(e).__name__, e.type_name, e.text) for e in [failures[0].exception]]") == [
        ("ExceptionStandIn", "RuntimeError", "boom")
    ]


def test_an_exception_without_words(kernel: Kernel) -> None:
    reply = kernel.run(
        "%%multiproc 1\nclass Mute(Exception):\n    def __str__(self): raise RuntimeError('no words')\nraise Mute()"
    )
    assert reply.ename == "RanksFailed"
    assert "Mute" in reply.traceback
    assert kernel.value("type(failures[0].exception).__name__") == "Mute"


def test_keyboard_interrupt_raised_in_a_rank_is_a_failure_of_it(kernel: Kernel) -> None:
    reply = kernel.run("%%multiproc 2 --on-failure continue\nif rank: raise KeyboardInterrupt('by hand')\n'fine'")
    assert (reply.status, reply.ename) == ("error", "RanksFailed")
    assert "KeyboardInterrupt: by hand" in reply.traceback
    assert kernel.value("(results, type(failures[1].exception).__name__, failures[1].collateral)") == (
        {0: "fine"},
        "KeyboardInterrupt",
        False,
    )


def test_endless_recursion(kernel: Kernel) -> None:
    reply = kernel.run("%%multiproc 1\ndef f(n): return f(n + 1)\nf(0)")
    assert "RecursionError: maximum recursion depth exceeded" in reply.traceback
    assert len(reply.traceback) < 100_000  # about what IPython itself shows
    assert kernel.value("type(failures[0].exception).__name__") == "RecursionError"


def test_a_syntax_error_at_run_time_is_the_ranks(kernel: Kernel) -> None:
    reply = kernel.run("%%multiproc 1\neval('1 +')")
    assert (reply.ename, "SyntaxError: invalid syntax" in reply.traceback) == ("RanksFailed", True)
    assert kernel.value("type(failures[0].exception).__name__") == "SyntaxError"


def test_a_failed_magic_inside(kernel: Kernel) -> None:
    reply = kernel.run("%%multiproc 1\n%nosuchmagic 3\n'not reached'")
    assert reply.status == "error"
    assert "nosuchmagic" in reply.stderr + reply.traceback
    reply = kernel.run("%%multiproc 1\n%%bash\nexit 3")
    assert "CalledProcessError" in reply.traceback


def test_a_failed_run_does_not_poison_the_next(kernel: Kernel) -> None:
    for cell in ("1 / 0", "import os; os._exit(1)", "import os; os.kill(os.getpid(), 9)"):
        assert kernel.run(f"%%multiproc 2\n{cell}").status == "error"
        kernel.run("%%multiproc 2\nrank").ok()
        assert kernel.value("(results, failures)") == ({0: 0, 1: 1}, {})


def test_settled_results_are_kept(kernel: Kernel) -> None:
    reply = kernel.run(
        "%%multiproc 3\n"
        "import os, time\n"
        "if rank < 2:\n"
        "    open(f'done{rank}', 'w').close()\n"
        "while not all(os.path.exists(f'done{r}') for r in (0, 1)):\n"
        "    time.sleep(0.005)\n"
        "if rank == 2:\n"
        "    1 / 0\n"
        "rank"
    )
    assert "; results of ranks 0-1 kept" in reply.traceback
    assert kernel.value("results") == {0: 0, 1: 1}


def test_repr_of_a_failure(kernel: Kernel) -> None:
    kernel.run("%%multiproc 1 --no-raise\n1 / 0").ok()
    assert kernel.run("failures").ok().value == "{0: RankFailure(rank=0, ZeroDivisionError: division by zero)}"


@pytest.mark.parametrize("quiet", ["", " --quiet"])
def test_a_run_that_nobody_waits_for_tells_its_failure(kernel: Kernel, quiet: str) -> None:
    cell = kernel.begin(f"%%multiproc 2 --no-wait --out job{quiet}\n{WAIT.format(rank=1)}print('begun')\n1 / 0")
    cell.finish().ok()
    # all of it is told under its own cell when the wait is over, and nothing where it was waited
    later = kernel.run("job.wait()\njob.wait()").ok()
    assert (later.stdout, later.stderr) == ("", "")
    cell.wait_for("m: division by zero\n", stream="stderr")
    told = without_escapes(cell.streams["stderr"])
    assert told.startswith(f"%%multiproc 2 --no-wait --out job{quiet}: 1 of 2 ranks failed, ")
    headline = told.splitlines()[0]
    assert headline.endswith(" s, root cause: rank 1, ZeroDivisionError: division by zero (see job)")
    assert "\n\nRank 1 failed first:\n" in told
    assert "----> 5 1 / 0" in told
    assert "\n\nrank 0 was ended because of that\n" in told
    assert told.count("Rank 1 failed first") == 1
    assert ("begun" in cell.streams["stdout"]) is (not quiet)


def test_a_restart_is_told(kernel: Kernel) -> None:
    kernel.run("import os").ok()
    source = (
        "%%multiproc 2 --max-restarts 1{}\nif os.environ['TORCHELASTIC_RESTART_COUNT'] == '0' and rank: 1 / 0\n'fine'"
    )
    for option in ("", " --quiet"):
        reply = kernel.run(source.format(option)).ok()
        assert reply.stderr == (
            "rank 1 failed (ZeroDivisionError: division by zero); all ranks start again: restart 1 of 1\n"
        )
        assert kernel.value("results") == {0: "fine", 1: "fine"}
