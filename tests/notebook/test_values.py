"""What a notebook shows of the values of the ranks, in a real kernel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.kernel import Kernel

pytestmark = [pytest.mark.kernel]


@pytest.fixture(scope="module", params=["live", "text"])
def notebook(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    with Kernel(panel=request.param) as kernel:
        kernel.run("%load_ext nblaunch").ok()
        yield kernel


def values(outputs: list[dict[str, Any]]) -> list[str]:
    """Return the texts of what is shown, without the panel and its record."""
    found = [str(output["data"]["text/plain"]) for output in outputs if "widget" not in str([*output["data"]])]
    return [text for text in found if text and not text.startswith(("✓", "✕"))]


def test_the_value_is_shown_as_a_notebook_does(notebook: Kernel) -> None:
    assert values(notebook.run("%%multiproc 2\nrank").ok().outputs) == ["rank 0: 0\nrank 1: 1"]
    assert values(notebook.run("%%multiproc 2\n'same'").ok().outputs) == ["ranks 0-1: 'same'"]
    for nothing in ("rank;", "x = 1", "None", "print('hello')"):
        assert values(notebook.run(f"%%multiproc 2\n{nothing}").ok().outputs) == []


def test_it_is_formatted_as_the_notebook_has_been_told(notebook: Kernel) -> None:
    notebook.run("%precision 2").ok()
    assert values(notebook.run("%%multiproc 2\n2 / 3").ok().outputs) == ["ranks 0-1: 0.67"]
    notebook.run("%precision %r").ok()


def test_frames_and_what_displays_itself(notebook: Kernel) -> None:
    reply = notebook.run("%%multiproc 2\nimport pandas\npandas.DataFrame({'a': [rank]})").ok()
    frames = [output["data"]["text/html"] for output in reply.outputs if "<table" in str(output["data"])]
    assert len(frames) == 2
    notebook.run(
        "from IPython.display import HTML, display\n"
        "class Itself:\n    def _ipython_display_(self):\n"
        "        display(HTML('<i>one</i>'))\n        display(HTML('<i>two</i>'))"
    ).ok()
    reply = notebook.run("%%multiproc 2\nItself()").ok()
    shown = [output["data"].get("text/html", "") for output in reply.outputs]
    assert "ranks 0-1" in shown[-3]
    assert shown[-2:] == ["<i>one</i>", "<i>two</i>"]


def test_a_repr_that_raises_is_no_error_of_the_cell(notebook: Kernel) -> None:
    notebook.run("class Bad:\n    def __repr__(self):\n        raise ValueError('bad')").ok()
    reply = notebook.run("%%multiproc 2\nBad()").ok()
    assert values(reply.outputs) == ["ranks 0-1: <a Bad whose repr failed: ValueError: bad>"]
    assert reply.ename == reply.stderr == ""


def test_an_interrupt_leaves_a_slow_one(notebook: Kernel) -> None:
    gate = notebook.place / "tmp" / "gate"
    notebook.run(
        "import os, threading\nclass Slow:\n    def __repr__(self):\n"
        f"        open({str(gate)!r}, 'w').close()\n        threading.Event().wait()"
    ).ok()
    running = notebook.begin("%%multiproc 1\nSlow()")
    notebook.pump(gate.exists, "the repr")
    notebook.interrupt()
    assert running.finish().ename == "KeyboardInterrupt"
    assert notebook.value("type(results[0]).__name__") == "Slow"
    gate.unlink()


def test_switching_it_off(notebook: Kernel) -> None:
    for options in ("--no-show", "--quiet", "--no-panel", "--no-wait --out job"):
        assert values(notebook.run(f"%%multiproc 2 {options}\nrank").ok().outputs) == []
    notebook.run("job.wait()").ok()
    notebook.run("%config Multiproc.show_values = False").ok()
    try:
        assert values(notebook.run("%%multiproc 2\nrank").ok().outputs) == []
    finally:
        notebook.run("%config Multiproc.show_values = True").ok()


def test_a_run_that_has_failed(notebook: Kernel) -> None:
    cell = "if rank == 1:\n    1 / 0\nrank"
    reply = notebook.run(f"%%multiproc 2 --on-failure continue\n{cell}")
    assert reply.ename == "RanksFailed"
    assert values(reply.outputs) == []
    reply = notebook.run(f"%%multiproc 2 --on-failure continue --no-raise --out job\n{cell}").ok()
    assert values(reply.outputs) == ["rank 0: 0"]


def test_where_more_is(notebook: Kernel) -> None:
    reply = notebook.run("%%multiproc 1 --out job\nlist(range(1000))").ok()
    assert values(reply.outputs)[0].splitlines()[-1] == "… 960 more lines: job.results[0] has all"


def test_the_variables_are_named_once_in_a_notebook() -> None:
    with Kernel(panel="live") as kernel:
        kernel.run("%load_ext nblaunch").ok()
        kernel.run("%%multiproc 1 --quiet\n1").ok()
        said = "results and failures hold what came back"
        shown = [str(kernel.run("%%multiproc 1\n1").ok().outputs) for _ in range(2)]
        assert [said in text for text in shown] == [True, False]
