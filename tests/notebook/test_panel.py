"""The panel and the record in a real kernel, without a page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernel import Execution, Kernel

pytestmark = [pytest.mark.kernel]


@pytest.fixture(scope="module")
def notebook() -> Iterator[Kernel]:
    """A kernel that shows panels."""
    with Kernel(panel="live") as kernel:
        kernel.run("%load_ext nblaunch\nimport pathlib, threading").ok()
        yield kernel


def shown(outputs: list[dict[str, Any]]) -> list[str]:
    """Return the kinds of outputs: what each message holds."""
    return [f"{output['msg_type']} {kind_of(output['data'])}" for output in outputs]


def kind_of(data: dict[str, Any]) -> str:
    if any("widget-view" in mime for mime in data):
        return "widget"
    return "record" if data["text/plain"] else "nothing"


def text(outputs: list[dict[str, Any]]) -> list[str]:
    """Return the lines of the record; the values of the ranks follow it."""
    records = [plain for output in outputs if (plain := output["data"]["text/plain"]).startswith(("✓", "✕", "■"))]
    lines: list[str] = records[-1].splitlines()
    return lines


def test_a_quick_run_leaves_its_record_and_no_widget(notebook: Kernel) -> None:
    notebook.run("%%multiproc 2\n0").ok()  # forks ranks ahead
    reply = notebook.run("%%multiproc 2\nprint('hello')\nrank").ok()
    # a machine that is busy may need more than a moment
    assert shown(reply.outputs)[-1].endswith("record")
    assert len(reply.outputs) in (1, 2)
    first, *rest = text(reply.outputs)
    assert first.startswith("✓ %%multiproc 2  finished in ")
    assert first.endswith("· 2 ranks")
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
    # no page has said a word: whoever held the widget has nothing in its place, and everybody has the record
    assert shown(reply.outputs) == ["display_data widget", "update_display_data nothing", *2 * ["display_data record"]]
    widget, nothing, record = (output["transient"]["display_id"] for output in reply.outputs[:3])
    assert widget == nothing != record
    first, *rest = text(reply.outputs)
    assert first.endswith("· 2 ranks · job holds what came back")
    assert rest == ["[0-1] waits"]
    assert notebook.value("job.results") == {0: 0, 1: 1}


def test_a_failure_is_in_the_record_and_raised(notebook: Kernel) -> None:
    reply = notebook.run("%%multiproc 2\nif rank == 1:\n    1 / 0\nthreading.Event().wait(9999)")
    assert reply.ename == "RanksFailed"
    lines = text(reply.outputs)
    assert lines[0].startswith("✕ %%multiproc 2  failed in ")
    assert "rank 1  ✕ failed first" in lines[1]
    assert lines[1].endswith("  ZeroDivisionError"), "its text is in the exception"
    assert re.match(r"rank 0  ■ was waiting in wait, line 4, ended  ", lines[2])
    assert len(lines) == 3
    assert "traceback" not in reply.outputs[-1]["data"]["text/html"]
    assert reply.traceback.endswith("ZeroDivisionError: division by zero")


def test_a_failure_that_is_not_raised_is_told_by_the_record(notebook: Kernel) -> None:
    reply = notebook.run("%%multiproc 2 --no-raise\nif rank == 1:\n    1 / 0\nrank").ok()
    lines = text(reply.outputs)
    assert "traceback of rank 1:" in lines
    assert lines.count("ZeroDivisionError: division by zero") == 1
    assert "<details open><summary>traceback of rank 1" in "".join(
        output["data"].get("text/html", "") for output in reply.outputs
    )
    assert reply.stderr == ""


CLEARING = "import sys\nfrom IPython.display import HTML, clear_output, display\n"


@pytest.mark.parametrize(
    ("cell", "lines", "kept"),
    [
        ("for e in range(3):\n    clear_output(wait=True)\n    print('epoch', e)", ["[0-1] epoch 2"], 0),
        ("print('old')\nprint('bad', file=sys.stderr)\nclear_output()", [], 0),
        ("print('old')\nprint('bad', file=sys.stderr)\nclear_output(wait=True)\nprint('new')", ["[0-1] new"], 0),
        ("print('old')\nclear_output(wait=True)", ["[0-1] old"], 0),
        ("print('old')\nclear_output(wait=True)\n!echo of a child", ["[0-1] of a child"], 0),
        ("print('old')\nclear_output(wait=True)\ndisplay(HTML('new'))", [], 1),
        ("display(HTML('old'))\nclear_output(wait=True)\nprint('new')", ["[0-1] new"], 0),
        ("display(HTML('old'))\nclear_output(wait=True)", [], 1),
        ("if rank:\n    print('old')\n    clear_output()\nprint('new')", ["[0-1] new"], 0),
    ],
)
def test_clear_output_clears_what_was_printed(notebook: Kernel, cell: str, lines: list[str], kept: int) -> None:
    reply = notebook.run(f"%%multiproc 2 --out job\n{CLEARING}{cell}").ok()
    assert text(reply.outputs)[1:] == lines
    assert notebook.value("{len(job.outputs[rank]) for rank in range(2)}") == {kept}
    assert "\x1b" not in notebook.value("job.logs[1].stdout + job.logs[1].stderr")


FIGURE = "from IPython.display import HTML, display\ndisplay(HTML('<b>figure</b>'))\n"


def test_where_a_program_executes_the_notebook_there_is_no_widget(notebook: Kernel) -> None:
    gate = notebook.place / "tmp" / "no widget"
    notebook.quietly(
        "import nblaunch.panel.live as live\n"
        "kept = live._WIDGET_AFTER, live._LINES_AFTER\nlive._WIDGET_AFTER = live._LINES_AFTER = 0.0"
    )
    try:
        running = notebook.begin(
            f"%%multiproc 2\nprint('hello')\nwhile not pathlib.Path({str(gate)!r}).exists():\n"
            "    threading.Event().wait(0.01)",
            allow_stdin=False,
        )
        # by then a widget would have been opened
        running.wait_for("[0] hello\n", "[1] hello\n")
        gate.touch()
        reply = running.finish().ok()
    finally:
        notebook.quietly("live._WIDGET_AFTER, live._LINES_AFTER = kept")
    assert not any("widget-view" in kind for output in reply.outputs for kind in output["data"])


def test_where_a_program_executes_the_notebook_what_is_displayed_comes_below_the_record(notebook: Kernel) -> None:
    reply = notebook.run(f"%%multiproc 2\nprint('hello')\n{FIGURE}rank", allow_stdin=False).ok()
    assert shown(reply.outputs[:1]) == ["display_data record"]
    assert text(reply.outputs[:1])[1:] == ["[0-1] hello"]
    assert "<b>figure</b>" in "".join(output["data"].get("text/html", "") for output in reply.outputs[1:])
    assert all(output["msg_type"] == "display_data" for output in reply.outputs)


@pytest.mark.parametrize("somebody", [False, True])
def test_lines_are_printed_where_no_page_is_heard_of_for_long(notebook: Kernel, somebody: bool) -> None:
    gate = notebook.place / "tmp" / f"lines{somebody}"
    notebook.quietly("import nblaunch.panel.live as live\nlive._LINES_AFTER, live._kept = 0.1, live._LINES_AFTER")
    try:
        running = notebook.begin(
            f"%%multiproc 2\n{FIGURE}print('first')\nwhile not pathlib.Path({str(gate)!r}).exists():\n"
            "    threading.Event().wait(0.01)\nprint('last')",
            allow_stdin=somebody,
        )
        running.wait_for("[0] first\n", "[1] first\n")
        notebook.pump(lambda: any("<b>figure" in str(output["data"]) for output in running.outputs), "the figure")
        gate.touch()
        reply = running.finish().ok()
    finally:
        notebook.quietly("live._LINES_AFTER = live._kept")
    assert sorted(reply.stdout.splitlines()) == ["[0] first", "[0] last", "[1] first", "[1] last"]
    records = [output["data"]["text/plain"] for output in reply.outputs if "✓ %%multiproc 2" in str(output["data"])]
    assert len(records) == 1
    assert "first" not in records[0], "it stands above"


def test_a_kernel_of_vs_code_has_its_panel_and_no_lines(notebook: Kernel) -> None:
    gate = notebook.place / "tmp" / "vscode"
    notebook.quietly(
        "import nblaunch.panel.live as live\nlive._LINES_AFTER, live._kept = 0.0, live._LINES_AFTER\n"
        "__vsc_ipynb_file__ = 'x.ipynb'"
    )
    try:
        running = notebook.begin(
            f"%%multiproc 2\n{FIGURE}print('hello')\nwhile not pathlib.Path({str(gate)!r}).exists():\n"
            "    threading.Event().wait(0.01)\nrank"
        )
        # while the run goes on
        notebook.pump(lambda: any("<b>figure" in str(output["data"]) for output in running.outputs), "the figure")
        gate.touch()
        reply = running.finish().ok()
    finally:
        notebook.quietly("live._LINES_AFTER = live._kept\ndel __vsc_ipynb_file__")
    records = [output for output in reply.outputs if "✓ %%multiproc 2" in str(output["data"])]
    assert [output["msg_type"] for output in records] == ["update_display_data"], "in the place of the panel"
    assert records[0]["data"]["text/plain"].splitlines()[1:] == ["[0-1] hello"]
    assert reply.stdout == ""


def test_quiet_shows_only_failures(notebook: Kernel) -> None:
    reply = notebook.run("%%multiproc 2 --quiet\nprint('hello')").ok()
    assert (reply.outputs, reply.stdout) == ([], "")
    reply = notebook.run("%%multiproc 2 --quiet --no-raise\n1 / 0").ok()
    assert shown(reply.outputs) == ["display_data record"]
    assert "ZeroDivisionError" in text(reply.outputs)[1]


@pytest.fixture
def no_widget(notebook: Kernel) -> Iterator[None]:
    """Let no run take so long that it has a widget, however busy the machine is."""
    notebook.quietly("import nblaunch.panel.live as live\nlive._WIDGET_AFTER, live._kept = 1e6, live._WIDGET_AFTER")
    yield
    notebook.quietly("live._WIDGET_AFTER = live._kept")


@pytest.mark.usefixtures("no_widget")
def test_what_a_run_has_left_stands_until_the_cell_runs_again_has_something_to_show(notebook: Kernel) -> None:
    page = {"cellId": "again", "deletedCells": []}
    cell = "%%multiproc 2\nprint('one')\nrank"
    first = notebook.run(cell, metadata=page).ok().outputs
    assert [output["msg_type"] for output in first] == ["display_data", "display_data"]
    second = notebook.run(cell, metadata=page).ok().outputs
    assert [output["msg_type"] for output in second] == ["display_data", "update_display_data", "display_data"]
    assert "nblaunch-earlier" in second[0]["data"]["text/html"]
    assert "[0-1] one" in text(second[1:2])[1]
    # the error is part of what stands there
    failing = "%%multiproc 2\nraise ValueError('of the ranks')"
    notebook.run(failing, metadata=page)
    earlier, record, *_ = notebook.run(failing, metadata=page).outputs
    assert "of the ranks" in earlier["data"]["text/html"]
    assert record["msg_type"] == "update_display_data"
    # a refusal leaves nothing but itself
    earlier, nothing = notebook.run("%%multiproc 2\nno_such_name +", metadata=page).outputs
    assert "nblaunch-earlier" in earlier["data"]["text/html"]
    assert not any(nothing["data"].values())
    # something else stands there by now
    notebook.run("1 + 1", metadata=page).ok()
    assert [output["msg_type"] for output in notebook.run(cell, metadata=page).outputs] == ["display_data"] * 2
    # one that is executed by a server, or that shows nothing
    for line, metadata in (("%%multiproc 2", {"cellId": "again"}), ("%%multiproc 2 --quiet", page)):
        outputs = notebook.run(cell.replace("%%multiproc 2", line), metadata=metadata).ok().outputs
        assert "nblaunch-earlier" not in str(outputs)


@pytest.mark.usefixtures("no_widget")
def test_a_cell_that_launches_twice_shows_what_the_run_before_has_left_once(notebook: Kernel) -> None:
    page = {"cellId": "twice", "deletedCells": []}
    cell = "for n in (1, 2):\n    get_ipython().run_cell_magic('multiproc', '2', f'print({n})')"
    assert "nblaunch-earlier" not in str(notebook.run(cell, metadata=page).ok().outputs)
    again = notebook.run(cell, metadata=page).ok().outputs
    assert [output["msg_type"] for output in again] == ["display_data", "update_display_data", "display_data"]
    assert [output["data"]["text/plain"].splitlines()[-1] for output in again[1:]] == ["[0-1] 1", "[0-1] 2"]
    # a launch that is refused, and one that shows nothing, leave nothing of the run before
    cell = (
        "run = get_ipython().run_cell_magic\n"
        "try:\n    run('multiproc', '2 --capture nosuch', 'rank')\nexcept Exception:\n    pass\n"
        "run('multiproc', '2 --no-panel', 'rank')"
    )
    earlier, nothing = notebook.run(cell, metadata=page).ok().outputs
    assert "nblaunch-earlier" in earlier["data"]["text/html"]
    assert not any(nothing["data"].values())


def test_a_run_that_goes_on_without_the_cell_keeps_what_stood_there_until_it_shows_something(
    notebook: Kernel,
) -> None:
    page = {"cellId": "goes on", "deletedCells": []}
    gate = notebook.place / "tmp" / "goes-on"
    cell = (
        f"%%multiproc 2 --no-wait --out job\nwhile not pathlib.Path({str(gate)!r}).exists():\n"
        "    threading.Event().wait(0.01)"
    )
    before: list[str] = []
    for _ in range(2):
        running = notebook.begin(cell, metadata=page)
        running.finish().ok()
        _wait_for(notebook, running, "display_data widget")
        assert shown(running.outputs) == [*before, "display_data widget"]
        gate.touch()
        _wait_for(notebook, running, "✓ %%multiproc 2 --no-wait")
        gate.unlink()
        before = ["display_data record"]


def _wait_for(notebook: Kernel, running: Execution, what: str) -> None:
    notebook.pump(
        lambda: any(
            what in f"{one} {output}" for one, output in zip(shown(running.outputs), running.outputs, strict=True)
        ),
        what,
    )


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
    # a busy machine may tell what that launch waits for
    written = [line for line in text(reply.outputs)[1:] if "getting ready" not in line and "marks stderr" not in line]
    assert sorted(written) == ["[0] inner", "[1] inner"]


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
    notebook.pump(lambda: len(started.outputs) > 2, "the record")
    assert shown(started.outputs) == ["display_data widget", "update_display_data nothing", "display_data record"]
    assert text(started.outputs)[0].startswith("✓ launch(work, 2)  finished in ")


def test_a_panel_that_fails_harms_no_run(notebook: Kernel) -> None:
    gate = notebook.place / "tmp" / "fails"
    notebook.quietly("import nblaunch.panel.pages as pages\npages.Pages.tick, kept = None, pages.Pages.tick")
    try:
        running = notebook.begin(
            f"%%multiproc 2\nwhile not pathlib.Path({str(gate)!r}).exists():\n    threading.Event().wait(0.01)\nrank"
        )
        # the panel fails when there is a widget to keep up to date
        notebook.pump(lambda: bool(running.outputs), "the widget")
        gate.touch()
        reply = running.finish().ok()
    finally:
        notebook.quietly("pages.Pages.tick = kept")
    assert "the panel failed; the run goes on without it" in reply.stderr + notebook.log
    assert text(reply.outputs)[0].startswith("✓ %%multiproc 2")
    assert notebook.value("results") == {0: 0, 1: 1}


def test_half_a_character_in_a_failure(notebook: Kernel) -> None:
    reply = notebook.run("%%multiproc 2\nraise ValueError('\\ud800 is half of one')")
    assert reply.ename == "RanksFailed"
    assert "ValueError: ? is half of one" in reply.evalue
    assert text(reply.outputs)[1].endswith("  ValueError")
    reply = notebook.run("%%multiproc 2 --no-raise\nraise ValueError('\\ud800 is half of one')").ok()
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
