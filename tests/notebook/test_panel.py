"""The panel and the record in a real kernel, without a page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernel import Kernel

pytestmark = [pytest.mark.kernel]


@pytest.fixture(scope="module")
def notebook() -> Iterator[Kernel]:
    """A kernel that shows panels."""
    with Kernel(panel="live") as kernel:
        kernel.run("%load_ext nblaunch\nimport pathlib, threading").ok()
        yield kernel


def shown(outputs: list[dict[str, Any]]) -> list[str]:
    """Return the kinds of outputs: what each message holds besides text."""
    return [
        f"{output['msg_type']} {'widget' if any('widget-view' in mime for mime in output['data']) else 'record'}"
        for output in outputs
    ]


def text(outputs: list[dict[str, Any]]) -> list[str]:
    lines: list[str] = outputs[-1]["data"]["text/plain"].splitlines()
    return lines


def test_a_quick_run_leaves_its_record_and_no_widget(notebook: Kernel) -> None:
    notebook.run("%%multiproc 2\n0").ok()  # forks ranks ahead
    reply = notebook.run("%%multiproc 2\nprint('hello')\nrank").ok()
    # a machine that is busy may need more than a moment
    assert shown(reply.outputs)[-1].endswith("record")
    assert len(reply.outputs) in (1, 2)
    first, *rest = text(reply.outputs)
    assert first.startswith("✓ %%multiproc 2  finished in ")
    assert first.endswith("· 2 ranks · results, failures → notebook")
    assert rest == ["[0-1] hello"]
    assert reply.stdout == ""


def test_a_run_that_takes_its_time_is_a_widget_first(notebook: Kernel) -> None:
    gate = notebook.place / "tmp" / "gate"
    running = notebook.begin(
        f"%%multiproc 2 --out job\nprint('waits')\nwhile not pathlib.Path({str(gate)!r}).exists():\n"
        "    threading.Event().wait(0.01)\nrank"
    )
    notebook.pump(lambda: bool(running.outputs), "the widget")
    assert shown(running.outputs) == ["display_data widget"]
    gate.touch()
    reply = running.finish().ok()
    assert shown(reply.outputs) == ["display_data widget", "update_display_data record"]
    ids = {output["transient"]["display_id"] for output in reply.outputs}
    assert len(ids) == 1
    first, *rest = text(reply.outputs)
    assert first.endswith("· 2 ranks · job → notebook")
    assert rest == ["[0-1] waits"]
    assert notebook.value("job.results") == {0: 0, 1: 1}


def test_a_failure_is_in_the_record_and_raised(notebook: Kernel) -> None:
    reply = notebook.run("%%multiproc 2\nif rank == 1:\n    1 / 0\nthreading.Event().wait(9999)")
    assert reply.ename == "RanksFailed"
    lines = text(reply.outputs)
    assert lines[0].startswith("✕ %%multiproc 2  failed in ")
    assert "rank 1  ✕ failed first" in lines[1]
    assert "ZeroDivisionError: division by zero" in lines[1]
    assert "rank 0  ■ stopped" in lines[2]
    assert "<details><summary>traceback of rank 1" in reply.outputs[-1]["data"]["text/html"]


def test_quiet_shows_only_failures(notebook: Kernel) -> None:
    reply = notebook.run("%%multiproc 2 --quiet\nprint('hello')").ok()
    assert (reply.outputs, reply.stdout) == ([], "")
    reply = notebook.run("%%multiproc 2 --quiet --no-raise\n1 / 0").ok()
    assert shown(reply.outputs) == ["display_data record"]
    assert "ZeroDivisionError" in text(reply.outputs)[1]


def test_no_panel_shows_nothing(notebook: Kernel) -> None:
    reply = notebook.run("%%multiproc 2 --no-panel --no-raise\nprint('hello')\n1 / 0").ok()
    assert (reply.outputs, reply.stdout, reply.stderr) == ([], "", "")
    assert notebook.value("sorted(failures)") == [0, 1]


def test_displays_come_below_the_record(notebook: Kernel) -> None:
    reply = notebook.run("%%multiproc 2\nfrom IPython.display import HTML, display\ndisplay(HTML('<b>x</b>'))").ok()
    last = [output["data"].get("text/html", "") for output in reply.outputs]
    assert any("<b>x</b>" in html for html in last)


def test_a_launch_in_a_rank_is_shown_as_text(notebook: Kernel) -> None:
    cell = "%%multiproc 1\nimport nblaunch\nnblaunch.launch('print(\"inner\"); 1', 2).results"
    reply = notebook.run(cell).ok()
    assert notebook.value("results") == {0: {0: 1, 1: 1}}
    assert sorted(text(reply.outputs)[1:]) == ["[0] inner", "[1] inner"]


def test_a_launch_that_is_not_waited_for_is_shown_too(notebook: Kernel) -> None:
    gate = notebook.place / "tmp" / "gate2"
    started = notebook.begin(
        "import nblaunch\ndef work():\n    while not pathlib.Path("
        f"{str(gate)!r}).exists():\n        threading.Event().wait(0.01)\n    return 7\n"
        "run = nblaunch.launch(work, 2, wait=False)"
    )
    started.finish().ok()
    notebook.pump(lambda: bool(started.outputs), "the widget")
    gate.touch()
    notebook.run("run.wait()").ok()
    notebook.pump(lambda: len(started.outputs) > 1, "the record")
    assert shown(started.outputs) == ["display_data widget", "update_display_data record"]
    assert text(started.outputs)[0].startswith("✓ launch(work, 2)  finished in ")


def test_a_panel_that_fails_harms_no_run(notebook: Kernel) -> None:
    notebook.quietly("import nblaunch.panel.pages as pages\npages.Pages.tick, kept = None, pages.Pages.tick")
    try:
        reply = notebook.run("%%multiproc 2\nimport time\ntime.sleep(0.5)\nrank").ok()
    finally:
        notebook.quietly("pages.Pages.tick = kept")
    assert "the panel failed; the run goes on without it" in reply.stderr + notebook.log
    assert text(reply.outputs)[0].startswith("✓ %%multiproc 2")
    assert notebook.value("results") == {0: 0, 1: 1}


def test_half_a_character_in_a_failure(notebook: Kernel) -> None:
    reply = notebook.run("%%multiproc 2\nraise ValueError('\\ud800 is half of one')")
    assert reply.ename == "RanksFailed"
    assert "ValueError: ? is half of one" in reply.evalue
    assert any("ValueError: ? is half of one" in line for line in text(reply.outputs))


def test_output_that_cannot_be_rendered_as_it_is_harms_no_run(notebook: Kernel) -> None:
    reply = notebook.run("%%multiproc 1\nprint('\\x1b[' + '9' * 5000 + 'mhello')\nrank").ok()
    # so long a sequence is none
    (line,) = text(reply.outputs)[1:]
    assert line.startswith("9999")
    assert notebook.value("results") == {0: 0}


def test_the_kernel_that_dies_leaves_word_of_what_ran(tmp_path: Path) -> None:
    with Kernel(panel="live") as kernel:
        kernel.run("%load_ext nblaunch\nimport nblaunch.panel.live as live\nlive._NOTE_PERIOD = 0.0").ok()
        running = kernel.begin("%%multiproc 2\nimport threading\nthreading.Event().wait(9999)")
        kernel.pump(lambda: len(running.outputs) >= 2, "the note")
        assert shown(running.outputs)[:2] == ["display_data widget", "display_data record"]
        assert "%%multiproc 2: running since" in running.outputs[1]["data"]["text/plain"]
