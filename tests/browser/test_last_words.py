"""The record reaches the notebook, and its file, whatever a person does to the page during the run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import CONNECTED, IDLE, PANEL, RUN_ALL, WAIT, begin, open_notebook, save, write_notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

CELL = """%%multiproc 2
from IPython.display import HTML, display
display(HTML(f"<b>figure one of rank {rank}</b>"))
print("begun")
wait(GATE + "-more")
display(HTML(f"<b>figure two of rank {rank}</b>"))
wait(GATE)
print("last words")"""
FIGURES = ["figure one of rank 0", "figure two of rank 0", "figure one of rank 1", "figure two of rank 1"]
VIEW = "application/vnd.jupyter.widget-view+json"


def _begin(page: Any, address: str, folder: Path, name: str, gate: Path) -> str:
    notebook = begin(page, address, folder, name, [CELL.replace("GATE", repr(str(gate)))])
    page.wait_for_selector(f"{PANEL} >> text=begun >> nth=0")
    page.wait_for_selector(".jp-Notebook >> text=figure one of rank 1")
    return notebook


def _open_gates(gate: Path) -> None:
    gate.with_name(f"{gate.name}-more").touch()
    gate.touch()


def _saved(page: Any, path: Path) -> list[dict[str, str]]:
    """Have the notebook saved; return what the outputs of the cell show, those left out that show nothing."""
    page.evaluate("window.jupyterapp.shell.currentWidget.context.save()")
    outputs = json.loads(path.read_text())["cells"][1]["outputs"]
    shown = [{mime: "".join(part) for mime, part in output["data"].items() if mime != VIEW} for output in outputs]
    assert not any(VIEW in output["data"] for output in outputs)
    return [data for data in shown if any(data.values())]


def _is_the_record(data: dict[str, str]) -> bool:
    return "%%multiproc 2" in data["text/plain"] and "[0-1] last words" in data["text/plain"]


@pytest.mark.parametrize("frontend", ["lab", "classic"])
@pytest.mark.parametrize("command", ["notebook:clear-all-cell-outputs", "notebook:clear-cell-output"])
def test_outputs_that_are_cleared_during_the_run(
    light_page: Any, lab: str, classic: str, lab_folder: Path, gate: Path, frontend: str, command: str
) -> None:
    name = re.sub(r"\W", "-", f"cleared-{frontend}-{command}")
    notebook = _begin(light_page, {"lab": lab, "classic": classic}[frontend], lab_folder, name, gate)
    light_page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1")
    light_page.evaluate(f"window.jupyterapp.commands.execute('{command}')")
    light_page.wait_for_selector(PANEL, state="detached")
    gate.with_name(f"{gate.name}-more").touch()
    # what comes afterwards is shown while the run goes on
    light_page.wait_for_selector(".jp-Notebook >> text=figure two of rank 1")
    gate.touch()
    light_page.wait_for_selector(".jp-Notebook >> text=/finished in/")
    light_page.wait_for_function(IDLE)
    saved = _saved(light_page, lab_folder / notebook)
    records = [index for index, data in enumerate(saved) if _is_the_record(data)]
    assert len(records) == 1
    figures = re.findall(r"figure \w+ of rank \d", "".join(data.get("text/html", "") for data in saved))
    assert figures == FIGURES


@pytest.mark.parametrize("saved", [True, False], ids=["saved", "not saved"])
@pytest.mark.parametrize("moment", ["during", "after"])
def test_a_page_that_is_reloaded_has_the_record(
    light_page: Any, lab: str, lab_folder: Path, gate: Path, saved: bool, moment: str
) -> None:
    notebook = _begin(light_page, lab, lab_folder, f"reloaded-{saved}-{moment}", gate)
    if saved:
        save(light_page)
    if moment == "after":
        address = light_page.url
        light_page.goto("about:blank")
        _open_gates(gate)
        light_page.goto(address)
    else:
        light_page.reload()
    light_page.wait_for_function(CONNECTED)
    _open_gates(gate)
    light_page.wait_for_selector(".jp-Notebook >> text=/finished in/")
    light_page.wait_for_function(IDLE)
    light_page.wait_for_selector(PANEL, state="detached")
    shown = _saved(light_page, lab_folder / notebook)
    assert [_is_the_record(data) for data in shown].count(True) == 1
    assert _is_the_record(shown[0])
    # it is the notebook's now: once cleared by a person, it stays away
    light_page.evaluate("window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    light_page.evaluate("window.jupyterapp.shell.currentWidget.context.save()")
    light_page.reload()
    light_page.wait_for_function(IDLE)
    light_page.evaluate(
        """() => {
            const { content } = window.jupyterapp.shell.currentWidget;
            content.activeCellIndex = 0;
            return window.jupyterapp.commands.execute('notebook:run-cell');
        }"""
    )
    assert "finished in" not in light_page.inner_text(".jp-Notebook")


def test_two_pages_with_one_kernel(light_page: Any, lab: str, lab_folder: Path, gate: Path) -> None:
    notebook = _begin(light_page, lab, lab_folder, "two-pages", gate)
    save(light_page)
    other = light_page.context.new_page()
    other.set_default_timeout(45_000)
    # a workspace of its own: two pages with one would each close what the other has opened
    other.goto(lab.format(notebook=notebook).replace("/lab/tree/", "/lab/workspaces/other/tree/"))
    other.wait_for_function(CONNECTED)
    # the page that runs the cell clears it; the other one shows the widget, and is never told of outputs
    light_page.bring_to_front()
    light_page.evaluate("window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    light_page.wait_for_selector(PANEL, state="detached")
    _open_gates(gate)
    for page in (light_page, other):
        page.bring_to_front()
        page.wait_for_selector(".jp-Notebook >> text=/finished in/")
        page.wait_for_function(IDLE)
        page.wait_for_selector(PANEL, state="detached")
        assert page.inner_text(".jp-Notebook").count("finished in") == 1
    other.close()


def test_a_loop_of_runs_leaves_each_record_once(light_page: Any, lab: str, lab_folder: Path) -> None:
    cell = """import nblaunch
for number in range(3):
    nblaunch.launch(lambda: threading.Event().wait(1.5), nprocs=1)"""
    name = "loop.ipynb"
    write_notebook(lab_folder, name, ["%load_ext nblaunch" + WAIT, cell, "print('the', 'end')"])
    open_notebook(light_page, lab, name)
    light_page.evaluate(RUN_ALL)
    light_page.wait_for_selector("text=the end")
    light_page.wait_for_function(IDLE)
    light_page.wait_for_selector(PANEL, state="detached")
    assert light_page.inner_text(".jp-Notebook").count("finished in") == 3
