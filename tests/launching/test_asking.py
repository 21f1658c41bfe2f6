"""Real ranks that ask, and somebody who answers by a script."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nblaunch.jupyter.input_box import NoInput, find_box
from nblaunch.launching.session import launch
from nblaunch.launching.source import Notebook
from nblaunch.runs.failures import RanksFailed, without_escapes
from nblaunch.runs.registry import runs_that_ask
from nblaunch.runs.run import Run


class Script:
    """Answers by rank; keeps what it was asked. Without a line left for a rank it ends the input."""

    def __init__(self, **lines: list[str]) -> None:
        self.lines = {int(name.removeprefix("rank")): lines for name, lines in lines.items()}
        self.asked: list[str] = []
        self.hidden: list[bool] = []
        self.by_prompt: dict[str, str] = {}
        self.told_at: dict[str, float] = {}

    def ask(self, prompt: str, *, hidden: bool, withdrawn: Callable[[], bool]) -> str | None:
        assert not withdrawn()
        self.asked.append(prompt)
        self.told_at[prompt] = time.monotonic()
        self.hidden.append(hidden)
        if prompt in self.by_prompt:
            return self.by_prompt[prompt]
        rank = int(prompt.split()[1].rstrip(":"))
        if not self.lines[rank]:
            raise EOFError
        return self.lines[rank].pop(0)


class Patient(Script):
    """Answers a debugger once so many ranks wait for it."""

    def __init__(self, ranks: int, **lines: list[str]) -> None:
        super().__init__(**lines)
        self.ranks = ranks

    def ask(self, prompt: str, *, hidden: bool, withdrawn: Callable[[], bool]) -> str | None:
        while "ipdb" in prompt and not any(len(run.asking) >= self.ranks for run in runs_that_ask()):
            threading.Event().wait(0.01)
        self.ranks = 1 if "ipdb" in prompt else self.ranks
        return super().ask(prompt, hidden=hidden, withdrawn=withdrawn)


def run_cell(source: str, nprocs: int, box: Any, **options: Any) -> Run:
    return launch(source, nprocs, notebook=Notebook({"__name__": "__main__"}, box=box), quiet=True, **options)


@pytest.mark.parametrize("method", ["zygote", "forkserver", "spawn", "fork"])
def test_input_with_every_start_method(method: str) -> None:
    script = Script(rank0=["a"], rank1=["b"])
    run = run_cell("input('Letter? ')", 2, script, start_method=method)
    assert run.results == {0: "a", 1: "b"}, run.failures
    assert sorted(script.asked) == ["rank 0: Letter? ", "rank 1: Letter? "]


@pytest.mark.parametrize("method", ["spawn", "zygote"])
def test_functions_ask_too(method: str) -> None:
    def work() -> tuple[str, int]:
        name = input("Name? ")
        x = len(name)
        breakpoint()
        x += 1
        return name, x

    box = Script(rank0=["Ada", "p x", "x = 40", "n", "c"])
    run = launch(work, 1, notebook=Notebook({"__name__": "__main__"}, box=box), quiet=True, start_method=method)
    assert run.results == {0: ("Ada", 41)}, run.failures


def test_threads_of_a_rank_ask_at_a_time() -> None:
    source = (
        "import threading\nanswers = []\n"
        "threads = [threading.Thread(target=lambda: answers.append(input())) for _ in range(4)]\n"
        "[t.start() for t in threads]\n[t.join() for t in threads]\nsorted(answers)"
    )
    assert run_cell(source, 1, Script(rank0=list("dbca"))).results == {0: list("abcd")}


def test_a_thread_that_asks_while_the_debugger_waits_for_it() -> None:
    source = (
        "import threading\nanswers = []\nthread = threading.Thread(target=lambda: answers.append(input('who? ')))\n"
        "breakpoint()\nthread.start()\nthread.join()\nanswers"
    )
    script = Script(rank0=["n", "n", "c"])
    script.by_prompt["rank 0: who? "] = "me"
    assert run_cell(source, 1, script).results == {0: ["me"]}
    # before the debugger's question or after it, as it comes
    assert sorted(script.asked) == ["rank 0 ipdb> "] * 3 + ["rank 0: who? "]


def test_a_thread_that_nobody_has_answered_does_not_keep_its_rank() -> None:
    source = "import threading\nthreading.Thread(target=input, args=('who? ',), daemon=True).start()\n'done'"
    released = threading.Event()

    class Slow(Script):
        def ask(self, prompt: str, *, hidden: bool, withdrawn: Callable[[], bool]) -> str | None:
            while not withdrawn():
                released.wait(0.01)
            return None

    assert run_cell(source, 1, Slow()).results == {0: "done"}


def test_a_breakpoint_goes_through_a_cell_and_into_functions(capsys: pytest.CaptureFixture[str]) -> None:
    source = "def f(a):\n    b = a + 1\n    return b\nx = 1\nbreakpoint()\nx = 2\ny = f(x)\ny"
    # from Python 3.13 on it stops in its own line, before that in the next one
    own_line = sys.version_info >= (3, 13)
    script = Script(rank0=["n"] * own_line + ["n", "s", "w", "n", "n", "n", "n", "p y", "n", "n"])
    assert run_cell(source, 1, script).results == {0: 3}
    shown = without_escapes(capsys.readouterr().out)
    stops = [line[6:].strip() for line in shown.splitlines() if line.startswith(("----> ", "---->"))]
    seen = ["5"] * own_line + ["6", "7", "1", "7", "1", "2", "3", "3", "8", "8"]
    assert [stop.split(" ", 1)[0] for stop in stops] == seen
    assert "shell.py" not in shown
    assert "\n3\n" in shown


def test_a_breakpoint_that_is_the_last_statement(capsys: pytest.CaptureFixture[str]) -> None:
    run = run_cell("x = 5\nbreakpoint()", 1, Script(rank0=["p x + 1", "c"]))
    assert run.ok
    assert "\n6\n" in capsys.readouterr().out


def test_a_breakpoint_between_awaits(capsys: pytest.CaptureFixture[str]) -> None:
    source = "import asyncio\nawait asyncio.sleep(0)\nbreakpoint()\nx = 1\nawait asyncio.sleep(0.01)\nx = 2\nx"
    assert run_cell(source, 1, Script(rank0=["n", "n", "n", "n", "c"])).results == {0: 2}
    assert "interactiveshell" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "call",
    [
        "import pdb; pdb.set_trace()",
        "from IPython.core.debugger import set_trace; set_trace()",
        "breakpoint(header='h')",
    ],
)
def test_other_names_of_breakpoints(call: str) -> None:
    script = Script(rank0=["p 1", "c"])
    assert run_cell(f"def f():\n    {call}\n    return 4\nf()", 1, script).results == {0: 4}
    assert script.asked == ["rank 0 ipdb> "] * 2


def test_breakpoints_that_are_set_in_the_debugger_stop_again(capsys: pytest.CaptureFixture[str]) -> None:
    source = "def f(i):\n    return i * 2\nbreakpoint()\ntotal = sum(f(i) for i in range(3))\ntotal"
    script = Script(rank0=["b f, i == 2", "c", "p i * 100", "c"])
    assert run_cell(source, 1, script).results == {0: 6}
    assert "\n200\n" in capsys.readouterr().out


def test_what_a_command_prints_is_shown_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    run = run_cell("breakpoint()\n1", 1, Script(rank0=["!print('from the ' + 'rank')", "!input('nested? ')", "x", "c"]))
    assert run.ok
    assert "from the rank\n" in capsys.readouterr().out
    assert run.logs[0].stdout == ""


def test_a_quit_at_a_breakpoint_ends_the_run() -> None:
    source = (
        "import threading\nif rank:\n    threading.Event().wait()\n"
        "try:\n    breakpoint()\n    x = 1\nexcept Exception:\n    pass"
    )
    run = run_cell(source, 2, Script(rank0=["q"]))
    assert run.status == "failed"
    assert run.failures[0].summary() == ("DebuggerQuit: the debugger of this rank was left with q, which ends the run")
    assert "bdb.py" not in run.failures[0].traceback
    assert run.failures[1].collateral


def test_a_quit_ends_the_run_even_if_failures_do_not() -> None:
    source = "import threading\nif rank:\n    threading.Event().wait()\nbreakpoint()\n1"
    run = run_cell(source, 2, Script(rank0=["q"]), on_failure="continue")
    assert run.failures[0].summary().startswith("DebuggerQuit")
    assert run.failures[1].collateral


def test_a_quit_in_a_thread_ends_the_run() -> None:
    source = (
        "import threading\ndef work():\n    breakpoint()\n    return 1\n"
        "threading.Thread(target=work).start()\nthreading.Event().wait()"
    )
    run = run_cell(source, 1, Script(rank0=["q"]))
    assert run.failures[0].summary() == "KeyboardInterrupt"


@pytest.mark.parametrize("leave", ["c", "q", "exit", "EOF"])
def test_every_rank_that_has_failed_is_looked_at_and_reports(leave: str) -> None:
    script = Patient(3, rank0=["p rank", leave], rank1=["p rank", leave], rank2=["p rank", leave])
    run = run_cell("raise ValueError(rank)", 3, script, pdb=True)
    assert [(failure.summary(), failure.collateral) for failure in run.failures.values()] == [
        (f"ValueError: {rank}", False) for rank in range(3)
    ]
    assert len(script.asked) == (6 if leave == "c" else 2)
    with pytest.raises(RanksFailed, match="3 of 3 ranks failed"):
        run.raise_for_failures()


def test_a_rank_that_waits_at_a_breakpoint_is_not_ended_by_a_failure_that_was_looked_at() -> None:
    source = "if rank == 0:\n    1 / 0\nbreakpoint()\n'went on'"
    run = run_cell(source, 2, Script(rank0=["c"], rank1=["c"]), pdb=True)
    assert run.results == {1: "went on"}
    assert run.failures[0].summary() == "ZeroDivisionError: division by zero"


class Silent(Script):
    """Says nothing until the question is withdrawn; once it was asked, whoever reads a pipe goes on."""

    def __init__(self, pipe: Path) -> None:
        super().__init__()
        self.pipe = pipe
        os.mkfifo(pipe)

    def ask(self, prompt: str, *, hidden: bool, withdrawn: Callable[[], bool]) -> str | None:
        self.asked.append(prompt)
        self.pipe.write_text("asked")
        while not withdrawn():
            threading.Event().wait(0.01)
        return None


def once_asked(pipe: Path, then: str) -> str:
    """Return the source of ranks of which the second one dies when somebody is asked about the first, once."""
    return (
        "import os, threading\n"
        "if os.environ['TORCHELASTIC_RESTART_COUNT'] == '0':\n"
        f"    if rank:\n        open({str(pipe)!r}).read()\n        os._exit(3)\n"
        f"    {then}\n"
        "os.environ['TORCHELASTIC_RESTART_COUNT']"
    )


def test_a_debugger_that_a_failure_closes_was_not_quit(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    run = run_cell(once_asked(pipe, "raise ValueError('held')"), 2, Silent(pipe), pdb=True, max_restarts=1)
    assert run.results == {0: "1", 1: "1"}
    (first, _) = run.attempts
    assert {rank: failure.summary() for rank, failure in first.failures.items()} == {
        0: "ValueError: held",
        1: f"rank 1 (pid {first.pids[1]}) exited with code 3",
    }


@pytest.mark.parametrize("then", ["breakpoint(); x = 1", "input()"])
def test_a_rank_that_asks_while_another_one_fails_has_not_failed_by_itself(tmp_path: Path, then: str) -> None:
    pipe = tmp_path / "pipe"
    run = run_cell(once_asked(pipe, then), 2, Silent(pipe), max_restarts=1)
    assert run.results == {0: "1", 1: "1"}
    (first, _) = run.attempts
    assert [first.failures[rank].collateral for rank in (0, 1)] == [True, False]
    assert first.failures[0].signal_name() == "SIGTERM"


def test_a_failure_that_was_held_is_as_old_as_it_is() -> None:
    source = (
        "import os, threading\nif rank == 0:\n    input()\n    raise ValueError('second')\nraise ValueError('first')"
    )
    script = Patient(2, rank0=["go", "c"], rank1=["p 1", "c"])
    run = run_cell(source, 2, script, pdb=True)
    assert sorted(script.asked) == ["rank 0 ipdb> ", "rank 0: ", "rank 1 ipdb> ", "rank 1 ipdb> "]
    at = [run.failures[rank].at for rank in (0, 1)]
    # rank 0 was told to go on before rank 1 was looked at, and so both are older than all that came of that
    assert at[0] < script.told_at["rank 1 ipdb> "]
    assert at[1] < script.told_at["rank 1 ipdb> "]
    assert run.root_cause is run.failures[at.index(min(at))]


def test_interrupts_and_exits_are_not_held() -> None:
    run = run_cell("import sys\nsys.exit(3)", 1, Script(rank0=[]), pdb=True)
    assert run.failures[0].exitcode == 3


FORKED = "import os\nif os.fork() == 0:\n    {}\n    os._exit(0)\nos.wait()\n"


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("input()", "EOFError: input() in a process that rank 0 has started: only the rank itself can ask"),
        (
            "breakpoint()",
            "RuntimeError: a breakpoint in a process that rank 0 has started: only the rank itself can be",
        ),
    ],
)
def test_a_forked_child_does_not_ask(call: str, told: str) -> None:
    script = Script(rank0=[])
    run = run_cell(FORKED.format(call) + "1", 1, script)
    assert run.results == {0: 1}
    assert told in run.logs[0].stderr
    assert script.asked == []


def test_a_child_that_is_forked_while_somebody_steps_goes_its_way() -> None:
    source = "import os\nbreakpoint()\npid = os.fork() or os._exit(5)\nos.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])"
    assert run_cell(source, 1, Script(rank0=["n", "n", "n", "n"])).results == {0: 5}


def test_an_answer_that_is_too_long_is_asked_for_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cell("len(input())", 1, Script(rank0=["x" * 60_001, "é" * 30_000])).results == {0: 30_000}
    assert "An answer has at most 60,000 bytes: let the rank read longer texts from a file." in capsys.readouterr().out


def test_whoever_answers_may_fail(caplog: pytest.LogCaptureFixture) -> None:
    run = run_cell("input()", 1, Script())
    assert run.failures[0].summary() == "EOFError: EOF when reading a line"
    assert "rank 0 cannot be answered" in caplog.text


def test_without_anybody_to_ask() -> None:
    nobody = NoInput("nobody is there")
    run = run_cell("input()", 1, nobody)
    assert (
        run.failures[0]
        .summary()
        .startswith(
            "EOFError: rank 0 called input(), but nobody can answer: nobody is there. Ask in an ordinary cell or"
        )
    )
    with pytest.raises(
        ValueError, match=r"pdb \(--pdb\) needs somebody who operates the debugger, but nobody is there"
    ):
        run_cell("1", 1, nobody, pdb=True)
    with pytest.raises(ValueError, match="hold is a number of seconds above 0, not 0"):
        run_cell("1", 1, Script(), hold=0)


def test_only_the_main_thread_asks() -> None:
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(find_box()))
    thread.start()
    thread.join()
    (box,) = found
    assert isinstance(box, NoInput)
    assert box.why == "only the main thread can ask, and the ranks were launched from another one"


@pytest.mark.parametrize("kind", ["ask", "unask", "session_ended"])
def test_questions_that_make_no_sense_harm_nobody(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    source = (
        f"from nblaunch.rank.asker import current_asker\ncurrent_asker()._channel.send({kind!r}, b'garbage')\n'fine'"
    )
    assert run_cell(source, 1, Script()).results == {0: "fine"}
    assert "rank 0 asked what makes no sense" in caplog.text


def test_a_rank_that_does_not_take_its_answers_is_ended_and_blocks_nobody() -> None:
    source = (
        "import threading\nfrom nblaunch.events import QuestionKind\nfrom nblaunch.messages.questions import Question\n"
        "from nblaunch.rank.asker import current_asker\n"
        "for number in range(100):\n"
        "    current_asker()._channel.tell(Question(QuestionKind.LINE, 'rank 0: more? ', number=number))\n"
        "threading.Event().wait()"
    )
    script = Script()
    script.by_prompt["rank 0: more? "] = "x" * 60_000
    run = run_cell(source, 1, script)
    assert run.failures[0].signal_name() == "SIGKILL"
    assert not run.failures[0].collateral


PROGRAM = """
import nblaunch
def work():
    name = input('Name? ')
    import getpass
    secret = getpass.getpass('Secret? ')
    breakpoint()
    return name, len(secret)
print(nblaunch.launch(work, 1, quiet=True).results)
"""


def test_a_program_in_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    ours, theirs = pty.openpty()
    program = subprocess.Popen([sys.executable, tmp_path / "program.py"], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = ""

    def read_until(text: str) -> None:
        nonlocal shown
        while text not in shown:
            assert select.select([ours], [], [], 60)[0], shown
            shown += without_escapes(os.read(ours, 1 << 16).decode())

    try:
        for prompt, line in (("Name? ", "Ada"), ("Secret? ", "hush"), ("rank 0 ipdb> ", "p name * 2")):
            read_until(prompt)
            os.write(ours, f"{line}\n".encode())
        read_until("'AdaAda'")
        os.write(ours, b"c\n")
        read_until("{0: ('Ada', 4)}")
    finally:
        program.wait(60)
        os.close(ours)
    assert "rank 0: Name? Ada" in shown
    assert "hush" not in shown


def test_a_rank_that_gets_no_thread_for_the_answer_says_so() -> None:
    source = (
        "import threading\n"
        'def start(self):\n    raise RuntimeError("can\'t start new thread")\n'
        "threading.Thread.start = start\n"
        "input()"
    )
    failure = run_cell(source, 1, Script()).failures[0]
    assert failure.summary() == (
        "EOFError: rank 0 cannot ask any more: [Errno 11] the system refused another thread: the limit of processes "
        "and threads is reached, of this user (ulimit -u) or of this container (pids.max): end other processes, or use "
        "fewer ranks"
    )
