"""What stands below a cell does not jump while the cell runs again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import IDLE, PANEL, RUN_ALL, open_notebook, write_notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

CELL = """%%multiproc 2
for i in range(12):
    print("line", i, "of rank", rank, flush=True)
wait(GATE, rank)
rank"""
WAIT = """
import pathlib, threading
def wait(gate, rank):
    pathlib.Path(f"{gate}-{rank}").touch()
    while not pathlib.Path(gate).exists():
        threading.Event().wait(0.01)
"""
# Notes each height that the output of the cell has had when the page was painted, and what was in it.
WATCH = """() => {
    const area = document.querySelectorAll('.jp-CodeCell')[1].querySelector('.jp-OutputArea');
    const kinds = () => [
        area.querySelector('.nblaunch-earlier') && 'earlier',
        area.querySelector('.nbl-panel') && 'panel',
        area.textContent.includes('finished in') && !area.querySelector('.nblaunch-earlier') && 'record',
    ].filter(Boolean).join('+');
    window.heights = [];
    const look = () => {
        const last = window.heights.at(-1), now = [kinds(), area.clientHeight];
        if (!last || last[0] !== now[0] || last[1] !== now[1]) window.heights.push(now);
        // observers of sizes have acted, and the page is painted, when this comes
        requestAnimationFrame(() => setTimeout(look));
    };
    look();
}"""
HEIGHT = "document.querySelectorAll('.jp-CodeCell')[1].querySelector('.jp-OutputArea').clientHeight"
RUN = "void window.jupyterapp.commands.execute('notebook:run-cell')"


@pytest.fixture(params=["lab", "classic"])
def notebook(light_page: Any, lab: str, classic: str, lab_folder: Path, gate: Path, request: Any) -> Any:
    """Open a notebook whose second cell has been run."""
    gate.touch()
    name = f"heights-{request.param}-{gate.name}.ipynb"
    write_notebook(lab_folder, name, ["%load_ext nblaunch" + WAIT, CELL.replace("GATE", repr(str(gate)))])
    open_notebook(light_page, {"lab": lab, "classic": classic}[request.param], name)
    light_page.evaluate(RUN_ALL)
    light_page.wait_for_selector("text=/finished in/")
    light_page.wait_for_function(IDLE)
    light_page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1")
    return light_page


def heights(page: Any) -> list[tuple[str, int]]:
    """Return what was painted since the kernel has answered: until then the page shows an empty output by itself."""
    found = [(str(kinds), int(height)) for kinds, height in page.evaluate("window.heights")]
    begin = next(index for index, (kinds, _) in enumerate(found) if kinds.startswith("earlier"))
    return found[begin:]


def test_a_cell_that_runs_again_keeps_its_height(notebook: Any, gate: Path) -> None:
    record = notebook.evaluate(HEIGHT)
    notebook.evaluate(WATCH)
    gate.unlink()
    notebook.evaluate(RUN)
    notebook.wait_for_function("window.heights.some(([kinds]) => kinds === 'earlier')")
    assert "of the run before" in notebook.inner_text(".nblaunch-earlier")
    gate.touch()
    notebook.wait_for_selector("text=/finished in/")
    notebook.wait_for_function("window.heights.at(-1)[0] === 'record'")
    notebook.wait_for_function(IDLE)
    notebook.wait_for_function(f"window.heights.at(-1)[1] === {record}")
    painted = heights(notebook)
    assert painted[0][0] == "earlier"
    assert abs(painted[0][1] - record) <= 4
    # the value of the ranks comes a moment after the record, and a panel is as tall as it may be at most
    assert min(height for _, height in painted) >= record - 40


def test_the_panel_is_as_tall_as_what_it_hides(notebook: Any, gate: Path) -> None:
    notebook.evaluate(WATCH)
    gate.unlink()
    notebook.evaluate(RUN)
    notebook.wait_for_selector(PANEL)
    notebook.wait_for_function("window.heights.at(-1)[0] === 'earlier+panel'")
    assert not notebook.locator(".nblaunch-earlier").is_visible()
    gate.touch()
    notebook.wait_for_function("window.heights.at(-1)[0] === 'record'")
    notebook.wait_for_function(IDLE)
    painted = heights(notebook)
    # at no moment is there nothing; a page may be too busy to show each of them
    assert {kinds for kinds, _ in painted} <= {"earlier", "earlier+panel", "panel", "record"}
    assert painted[-1][0] == "record"
    assert min(height for _, height in painted) >= painted[0][1] - 40
