"""Ranks that ask in the notebook: `input()`, breakpoints and ``--pdb``, through a real kernel's input box."""

from __future__ import annotations

import os
import re
import signal

import pytest

from tests.kernel import Execution, Kernel, without_escapes

pytestmark = pytest.mark.kernel


def begin(kernel: Kernel, code: str) -> Execution:
    return kernel.begin(code, allow_stdin=True)


def shown(cell: Execution) -> str:
    return without_escapes(cell.streams["stdout"])


def test_input_says_which_rank_asks(kernel: Kernel) -> None:
    cell = begin(kernel, "%%multiproc 2\nint(input('How many? ')) * 10")
    for _ in range(2):
        rank = re.fullmatch(r"rank (\d): How many\? ", cell.asked())
        assert rank is not None
        cell.enter(str(int(rank[1]) + 7))
    cell.finish().ok()
    assert kernel.value("results") == {0: 70, 1: 80}


def test_a_password_is_asked_for_hidden(kernel: Kernel) -> None:
    cell = begin(kernel, "%%multiproc 1\nimport getpass\nlen(getpass.getpass())")
    assert cell.asked() == "rank 0: Password: "
    assert cell.questions[0]["content"]["password"] is True
    cell.enter("secret").finish().ok()
    assert kernel.value("results") == {0: 6}


def test_lines_of_standard_input_until_its_end(kernel: Kernel) -> None:
    cell = begin(kernel, "%%multiproc 1\nimport sys\n[line for line in sys.stdin]")
    cell.enter("one").enter("two").enter("\x04").finish().ok()
    assert kernel.value("results") == {0: ["one\n", "two\n"]}


def test_the_end_of_the_input_is_an_eof_error(kernel: Kernel) -> None:
    cell = begin(kernel, "%%multiproc 1 --no-raise\ninput()")
    cell.enter("\x04").finish().ok()
    assert kernel.value("failures[0].summary()") == "EOFError: EOF when reading a line"


def test_a_breakpoint(kernel: Kernel) -> None:
    cell = begin(kernel, "%%multiproc 2\nx = rank + 40\nif rank:\n    breakpoint()\n    x = x + 1\nx")
    assert cell.asked() == "rank 1 ipdb> "
    assert "----> 5     x = x + 1" in shown(cell)
    cell.enter("p x").asked()
    assert "\n41\n" in shown(cell)
    cell.enter("x = 99").enter("n").asked()
    assert "----> 6 x" in shown(cell)
    cell.enter("c").finish().ok()
    assert kernel.value("results") == {0: 40, 1: 100}


def test_a_rank_that_raises_waits_at_its_frame(kernel: Kernel) -> None:
    kernel.run("def share(n, parts):\n    return n // parts").ok()
    cell = begin(
        kernel,
        "%%multiproc 3 --pdb\nimport threading\nif rank != 1:\n    threading.Event().wait()\nshare(12, rank - 1)",
    )
    assert cell.asked() == "rank 1 ipdb> "
    text = shown(cell)
    assert "ZeroDivisionError: integer division or modulo by zero" in text
    assert re.search(r"rank 1 waits at Cell In\[\d+\], line 2\. c looks at the next rank", text)
    assert "----> 2     return n // parts" in text
    cell.enter("p n, parts").enter("u").asked()
    assert "(12, 0)" in shown(cell)
    assert "----> 5 share(12, rank - 1)" in shown(cell)
    assert "nblaunch" not in shown(cell), "the insides of the launcher say nothing about the cell"
    reply = cell.enter("c").finish()
    assert reply.ename == "RanksFailed"
    assert kernel.value("{r: f.collateral for r, f in failures.items()}") == {0: True, 1: False, 2: True}
    assert kernel.value("failures[1].summary()") == "ZeroDivisionError: integer division or modulo by zero"


@pytest.mark.parametrize("body", ["breakpoint()\n7", "1 / 0"])
@pytest.mark.parametrize("command", ["run", "restart --fast"])
def test_a_rank_is_not_started_again_from_its_debugger(kernel: Kernel, body: str, command: str) -> None:
    cell = begin(kernel, f"%%multiproc 1 --pdb --no-raise\n{body}")
    cell.enter(command)
    assert cell.asked() == "rank 0 ipdb> "
    assert (
        "*** a rank cannot be started again from its debugger: leave it with c or q and run the cell again, or have "
        "all ranks started again after a failure with max_restarts (--max-restarts)\n"
    ) in shown(cell)
    cell.enter("c").finish().ok()
    ended = ({0: 7}, []) if "breakpoint" in body else ({}, ["ZeroDivisionError: division by zero"])
    assert kernel.value("(results, [f.summary() for f in failures.values()])") == ended


def test_lines_of_python_at_a_breakpoint_and_a_jump(kernel: Kernel) -> None:
    cell = begin(kernel, "%%multiproc 1\nx = 20\nbreakpoint()\nx = x + 1\nx")
    cell.enter("interact").asked()
    assert "*** interact does not work here: type Python at this prompt, after ! if it looks like a command" in (
        shown(cell)
    )
    cell.enter("print('twice', 2 * x)").asked()
    assert "twice 40" in shown(cell)
    cell.enter("import sys; sys.exit(7)").asked()
    assert "*** SystemExit: 7 (the rank goes on with c, and the run is ended with q)" in shown(cell)
    cell.enter("jump 99").asked()
    assert "*** Jump failed: line 99 comes after the current code block" in shown(cell)
    cell.enter("x = 5").enter("c").finish().ok()
    assert kernel.value("results") == {0: 6}


def test_the_end_of_the_input_leaves_the_debugger(kernel: Kernel) -> None:
    cell = begin(kernel, "%%multiproc 1 --no-raise\nbreakpoint()\n1")
    cell.enter("\x04").finish().ok()
    assert kernel.value("type(failures[0].exception).__name__") == "DebuggerQuit"


def test_a_quit_ends_the_run_and_every_failure_is_told(kernel: Kernel) -> None:
    cell = begin(kernel, "%%multiproc 2 --pdb --no-raise\nraise ValueError(rank)")
    cell.asked()
    cell.enter("q").finish().ok()
    assert kernel.value("[(f.summary(), f.collateral) for f in failures.values()]") == [
        ("ValueError: 0", False),
        ("ValueError: 1", False),
    ]


def test_an_interrupt_while_a_rank_asks_interrupts_the_run(kernel: Kernel) -> None:
    cell = begin(kernel, "%%multiproc 2 --grace 60\ninput()")
    cell.asked()
    kernel.interrupt()
    reply = cell.finish()
    assert reply.ename == "KeyboardInterrupt"
    assert kernel.value("[type(f.exception).__name__ for f in failures.values()]") == ["KeyboardInterrupt"] * 2
    kernel.run("%%multiproc 1\n1").ok()


@pytest.mark.parametrize("body", ["breakpoint()\n1", "1 / 0"])
def test_an_interrupt_leaves_the_debugger(kernel: Kernel, body: str) -> None:
    cell = begin(kernel, f"%%multiproc 1 --pdb --grace 60 --out run\n{body}")
    assert cell.asked() == "rank 0 ipdb> "
    kernel.interrupt()
    assert cell.finish().ename == "KeyboardInterrupt"
    assert kernel.value("run.status") == "interrupted"


@pytest.mark.parametrize("body", ["input()", "breakpoint()", "1 / 0"])
def test_a_rank_that_is_killed_takes_its_question_along(kernel: Kernel, body: str) -> None:
    cell = begin(kernel, f"%%multiproc 1 --pdb --out run\nimport os\nprint('pid', os.getpid(), flush=True)\n{body}\n1")
    cell.wait_for("pid ")
    cell.asked()
    os.kill(int(re.findall(r"pid (\d+)", shown(cell))[0]), signal.SIGKILL)
    assert cell.finish().ename == "RanksFailed"
    assert "rank 0 does not wait for an answer any more." in shown(cell)
    assert kernel.value("run.failures[0].signal_name()") == "SIGKILL"
    # a page may still answer the question that nobody waits for
    after = begin(kernel, "%%multiproc 1\ninput('next? ')")
    assert after.asked() == "rank 0: next? "
    kernel.reply(cell.questions.pop(0), "stale")
    after.enter("fresh").finish().ok()
    assert kernel.value("results") == {0: "fresh"}


def test_a_hold_that_is_over_reports_the_failure(kernel: Kernel) -> None:
    cell = begin(kernel, "%%multiproc 1 --pdb --hold 0.2 --no-raise\n1 / 0")
    reply = cell.finish().ok()
    assert "rank 0 does not wait for an answer any more." in shown(cell)
    assert "1 of 1 rank failed" in reply.stderr
    assert kernel.value("failures[0].summary()") == "ZeroDivisionError: division by zero"


def test_a_run_that_nobody_waits_for(kernel: Kernel) -> None:
    kernel.run("import nblaunch").ok()
    source = (
        "x = rank\nif rank == 2:\n    1 / 0\nif rank == 1:\n    breakpoint()\n    x = 5\n"
        "if rank == 0:\n    x = input('name? ')\nx"
    )
    cell = begin(kernel, f"run = nblaunch.launch({source!r}, 3, wait=False, pdb=True)")
    cell.finish().ok()
    cell.wait_for(
        "rank 0 waits: asks 'name? '.", "rank 1 waits: in the debugger, ", "rank 2 waits: held at its failure, "
    )
    assert "%multiproc debug 2 answers, or debug(2) of its Run." in shown(cell)
    assert sorted(kernel.value("run.asking")) == [0, 1, 2]
    asking = begin(kernel, "run.debug(0)")
    assert asking.asked() == "rank 0: name? "
    asking.enter("Ada").finish().ok()
    asking = begin(kernel, "%multiproc debug 2")
    assert asking.asked() == "rank 2 ipdb> "
    asking.enter("p x").enter("c").finish().ok()
    assert "ZeroDivisionError: division by zero" in shown(asking)
    # it does not report yet, or rank 1 would be ended
    assert kernel.value("sorted(run.asking)") == [1]
    asking = begin(kernel, "%multiproc debug 1")
    asking.enter("c").finish().ok()
    assert kernel.value("run.wait()") is True
    assert kernel.value("(run.results, sorted(run.failures))") == ({0: "Ada", 1: 5}, [2])
    refused = begin(kernel, "%multiproc debug 1").finish()
    assert refused.ename == "UsageError"
    assert "rank 1 of no run waits for anybody. Nor does any other rank." in refused.stderr
    with_run = begin(kernel, "run.debug(1)").finish()
    assert with_run.evalue == (
        "rank 1 does not wait for anybody. No rank of this run does: a rank waits at breakpoint(), at input(), or, "
        "with pdb, where it has raised"
    )


def test_a_cell_that_does_not_wait_says_who_asks(kernel: Kernel) -> None:
    cell = begin(kernel, "%%multiproc 2 --no-wait --out job\nif rank:\n    rank = int(input('how many? '))\nrank")
    cell.finish().ok()
    cell.wait_for("rank 1 waits: asks 'how many? '. %multiproc debug 1 answers, or debug(1) of its Run.")
    asking = begin(kernel, "%multiproc debug 1")
    assert asking.asked() == "rank 1: how many? "
    asking.enter("7").finish().ok()
    kernel.run("job.wait()").ok()
    assert kernel.value("job.results") == {0: 0, 1: 7}


NO_BOX = (
    "this notebook is executed by a program that has no input box (nbclient, nbconvert, papermill, a server that "
    "executes cells by itself, and the like)"
)


def test_without_an_input_box_nothing_hangs(kernel: Kernel) -> None:
    refused = kernel.run("%%multiproc 2 --pdb\n1")
    assert refused.ename == "UsageError"
    assert refused.stderr.strip() == (
        f"UsageError: %%multiproc: pdb (--pdb) needs somebody who operates the debugger, but {NO_BOX}: leave it out, "
        "or run this in JupyterLab or in a terminal. Nothing was started."
    )
    kernel.run("%%multiproc 1 --no-raise\ninput('name? ')").ok()
    assert kernel.value("failures[0].summary()") == (
        f"EOFError: rank 0 called input(), but nobody can answer: {NO_BOX}. Ask in an ordinary cell or in the program "
        "itself, before, and let the ranks use the variable"
    )
    # the traceback ends where the cell has asked, that of what it was raised from too
    assert "asking.py" not in kernel.value("failures[0].traceback")
    kernel.run(
        "%%multiproc 1 --no-raise\ntry:\n    input()\n"
        "except EOFError as error:\n    raise ValueError('no answer') from error"
    ).ok()
    assert "----> 3     input()" in kernel.value("failures[0].traceback")
    assert "asking.py" not in kernel.value("failures[0].traceback")
    kernel.run("%%multiproc 1 --no-raise\nbreakpoint()\n1").ok()
    assert kernel.value("str(failures[0].exception)") == (
        f"rank 0 reached a breakpoint, but nobody can operate the debugger: {NO_BOX}. Take the breakpoint out, or set "
        "PYTHONBREAKPOINT=0 (--env PYTHONBREAKPOINT=0), which makes breakpoint() do nothing"
    )
    kernel.run("%%multiproc 1 --env PYTHONBREAKPOINT=0\nbreakpoint()\n1").ok()
    kernel.run("%%multiproc 1\nimport sys\nsys.stdin.readline()").ok()
    assert kernel.value("results") == {0: ""}


@pytest.mark.parametrize("end", ["job.kill()", "job.signal('SIGKILL', ranks=[0])", "os._exit"])
def test_a_failure_that_is_held_is_told_even_if_its_rank_is_killed(kernel: Kernel, end: str) -> None:
    cell = begin(
        kernel, "%%multiproc 2 --pdb --no-wait --out job\nimport os, threading\n1 / rank\nthreading.Event().wait()"
    )
    cell.wait_for("rank 0 waits: held at its failure, Cell In[")
    cell.finish().ok()
    kernel.run("print(job.stacks([0]))").ok()
    assert kernel.run("print(job.stacks([0]))").stdout == "rank 0: held at its failure\n"
    if end == "os._exit":
        debugging = begin(kernel, "%multiproc debug 0")
        debugging.asked()
        debugging.enter("os._exit(9)").finish()
    else:
        kernel.run(end).ok()
    kernel.run("job.kill(); job.wait()").ok()
    assert kernel.value("[(f.summary(), f.collateral) for f in job.failures.values()][0]") == (
        "ZeroDivisionError: division by zero",
        False,
    )
    assert kernel.value("job.root_cause.rank") == 0
    assert kernel.value("job.failures[0].traceback.count('1 / rank')") >= 1


def test_what_was_raised_before_is_in_reach_of_the_debugger(kernel: Kernel) -> None:
    cell = begin(
        kernel,
        "%%multiproc 1 --pdb --no-raise\n"
        "def cause():\n    below = 'the cause'\n    raise KeyError(below)\n"
        "try:\n    cause()\nexcept KeyError as error:\n    raise ValueError('above') from error",
    )
    cell.enter("exceptions").asked()
    cell.enter("exceptions 0").asked()
    cell.enter("p below").asked()
    assert "'the cause'" in shown(cell)
    cell.enter("c").finish().ok()


def test_a_rank_that_waits_in_two_runs_is_answered_in_the_first(kernel: Kernel) -> None:
    for _ in range(2):
        begin(kernel, "%%multiproc 1 --no-wait\ninput('name? ')").finish().ok()
    kernel.run(
        "from nblaunch.runs.registry import runs_that_ask\nimport threading\n"
        "while len(runs_that_ask()) < 2: threading.Event().wait(0.01)"
    ).ok()
    first = begin(kernel, "%multiproc debug 0")
    first.enter("one").finish().ok()
    assert "Rank 0 waits in 2 runs: this is the one that was started first." in shown(first)
    begin(kernel, "%multiproc debug 0").enter("two").finish().ok()
    kernel.run("from nblaunch.runs.registry import running\nfor run in running(): run.wait()").ok()


def test_results_that_another_run_takes_over_are_told_of(kernel: Kernel) -> None:
    kernel.run("%%multiproc 1 --no-wait\nimport threading\nthreading.Event().wait()").ok()
    reply = kernel.run("%%multiproc 1\n'the second'").ok()
    assert reply.stderr == (
        "results and failures are those of this run from now on. Of the one that still goes on in the background "
        "nobody will know them: start such runs with --out NAME.\n"
    )
    assert kernel.value("results") == {0: "the second"}
    assert "see results" not in kernel.run("%multiproc stop").ok().stderr
