"""What ranks display, launched without a notebook: it is printed, and kept in the run."""

from __future__ import annotations

import logging
import re
import time
from typing import Any

import pytest

from nblaunch.launching.session import launch
from nblaunch.launching.source import Notebook
from nblaunch.runs.run import Run

HTML = "from IPython.display import HTML, clear_output\n"


def run_cell(source: str, nprocs: int, **options: Any) -> Run:
    return launch(HTML + source, nprocs, notebook=Notebook({"__name__": "__main__"}), **options)


def html(run: Run) -> dict[int, list[str]]:
    return {rank: [output.data["text/html"] for output in shown] for rank, shown in run.outputs.items()}


@pytest.mark.parametrize("method", ["zygote", "forkserver", "spawn", "fork"])
def test_displays_are_printed_and_kept(method: str, capfd: pytest.CaptureFixture[str]) -> None:
    run = run_cell("display(HTML(f'<b>{rank}</b>'))", 2, start_method=method)
    assert html(run) == {0: ["<b>0</b>"], 1: ["<b>1</b>"]}
    # the rank itself has written nothing
    assert [log.stdout for log in run.logs.values()] == ["", ""]
    assert sorted(capfd.readouterr().out.splitlines()) == [
        f"[{rank}] <IPython.core.display.HTML object>" for rank in (0, 1)
    ]


def test_picked_ranks_and_quiet_runs(capfd: pytest.CaptureFixture[str]) -> None:
    assert html(run_cell("display(HTML(str(rank)))", 3, show_ranks=[1])) == {0: ["0"], 1: ["1"], 2: ["2"]}
    assert capfd.readouterr().out == "[1] <IPython.core.display.HTML object>\n"
    assert html(run_cell("display(HTML(str(rank)))", 1, quiet=True)) == {0: ["0"]}
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("ranks", "error", "message"),
    [
        ([2, 4], ValueError, "show_ranks names rank 4, but this run has ranks 0-3"),
        ([7, 8, 9], ValueError, "show_ranks names ranks 7-9, but this run has ranks 0-3"),
        ([-1], ValueError, "show_ranks holds numbers of ranks, 0 or more, not -1"),
        ([True], ValueError, "show_ranks holds numbers of ranks, 0 or more, not True"),
        (["0"], ValueError, "show_ranks holds numbers of ranks, 0 or more, not '0'"),
        (0, TypeError, "show_ranks is a collection of numbers of ranks, such as [0, 2], not 0"),
        ([[0]], TypeError, "show_ranks is a collection of numbers of ranks, such as [0, 2], not [[0]]"),
    ],
)
def test_ranks_that_there_are_not(ranks: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        run_cell("1", 4, show_ranks=ranks)
    with pytest.raises(ValueError, match=r"^show_ranks names rank 1, but the only rank of this run is rank 0$"):
        run_cell("1", 1, show_ranks=[1])


def test_ranks_that_were_forked_ahead_and_have_rehearsed_begin_anew() -> None:
    for _ in range(3):
        run = run_cell("display(HTML('x'))\n(get_ipython().display_pub._hint_printed, len(Out))", 2, quiet=True)
        assert (html(run), run.results) == ({0: ["x"], 1: ["x"]}, {0: (False, 0), 1: (False, 0)})
        assert [log.stdout + log.stderr for log in run.logs.values()] == ["", ""]


def test_outputs_are_there_while_the_run_runs() -> None:
    run = run_cell("import time\ndisplay(HTML('begun'))\ntime.sleep(600)", 1, quiet=True, wait=False)
    deadline = time.monotonic() + 60
    while not run.outputs[0]:
        assert time.monotonic() < deadline
        run.wait(0.01)
    run.kill()
    assert run.wait(60)
    assert html(run) == {0: ["begun"]}


def test_a_display_without_memory_is_the_failure_of_its_rank() -> None:
    run = run_cell(
        "import nblaunch.payload.memory as memory\nmemory.available_memory = lambda: 100 << 20\n"
        "display(HTML('x' * 60_000_000))",
        1,
        quiet=True,
    )
    message = str(run.failures[0].exception)
    assert message.startswith("this output takes 60 MB, and there is not enough memory to send it to the notebook.")
    assert type(run.failures[0].exception).__name__ == "DisplayNotSent"


@pytest.mark.parametrize("body", [b"garbage", b""])
def test_what_makes_no_sense_harms_nobody(body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    source = f"get_ipython().display_pub._channel.send('display', {body!r})\nrank"
    with caplog.at_level(logging.WARNING):
        run = run_cell(source, 2, quiet=True)
    assert (run.results, html(run)) == ({0: 0, 1: 1}, {0: [], 1: []})
    assert caplog.text.count("displayed what makes no sense") == 2


def test_what_is_displayed_at_the_very_end_is_printed() -> None:
    run = run_cell("import atexit\natexit.register(lambda: display(HTML('late')))\n'value'", 1, quiet=True)
    assert (run.results, html(run)) == ({0: "value"}, {0: []})
    assert (run.logs[0].stdout, run.logs[0].stderr) == ("<IPython.core.display.HTML object>\n", "")


@pytest.mark.parametrize(
    "change",
    [
        "import codecs, sys\nsys.stdout = codecs.getwriter('utf8')(sys.stdout.detach())\nprint('written')",
        "import io, sys\nprint('written')\nsys.stdout = io.TextIOWrapper(sys.stdout.detach(), 'utf8')",
    ],
)
def test_a_stdout_that_was_detached_is_no_error(change: str) -> None:
    run = launch(f"{change}\nrank", 1, panel="none")
    assert run.results == {0: 0}
    assert run.logs[0].stdout == "written\n"
    assert run.logs[0].stderr == ""
