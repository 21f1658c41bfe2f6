"""The panel and its record where else a person may meet them: reloaded, in two views, in other hands, converted."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.test_jupyterlab import IDLE, _open, _write
from tests.browser.test_panel import PANEL, RUN_ALL, WAIT, _save

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

CONNECTED = """() => {
    const panel = window.jupyterapp && window.jupyterapp.shell.currentWidget;
    return panel?.sessionContext?.session?.kernel?.connectionStatus === 'connected';
}"""
RUN_LAST = """() => {
    const { content } = window.jupyterapp.shell.currentWidget;
    content.activeCellIndex = content.widgets.length - 1;
    void window.jupyterapp.commands.execute('notebook:run-cell');
}"""


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """Open a page in one theme: what differs here is not what it looks like."""
    context = browser.new_context(viewport={"width": 1100, "height": 900}, color_scheme="light")
    page = context.new_page()
    page.set_default_timeout(45_000)
    page.theme = "light"
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error.stack)))
    yield page
    _shut_down(page)
    context.close()
    # the panel's module comes from a blob; Jupyter's own errors are not ours
    assert [error for error in errors if "blob:" in error] == []


def _shut_down(page: Any) -> None:
    """End the kernels of the server that the page is from; with the page, a person would leave them behind."""
    page.evaluate("window.jupyterapp && window.jupyterapp.serviceManager.sessions.shutdownAll()")


@pytest.fixture
def gate(lab_folder: Path, request: pytest.FixtureRequest) -> Path:
    """A file that the ranks of a test wait for."""
    return lab_folder / re.sub(r"\W+", "-", f"gate-{request.node.name}")


def _begin(page: Any, address: str, folder: Path, name: str, cells: list[str]) -> str:
    """Open a new notebook, and run all its cells."""
    notebook = f"{name}.ipynb"
    _write(folder, notebook, ["%load_ext nblaunch" + WAIT, *cells])
    _open(page, address, notebook)
    page.evaluate(RUN_ALL)
    return notebook


STOPPED = """%%multiproc 2 --grace 60
try:
    print("begun")
    threading.Event().wait(9999)
finally:
    print("tidied up")"""


def test_a_page_that_is_reloaded_during_a_run(page: Any, lab: str, lab_folder: Path, pictures: Path) -> None:
    _begin(page, lab, lab_folder, "reloaded", [STOPPED, "print('next:', sorted(failures))"])
    page.wait_for_selector(f"{PANEL} >> text=begun")
    # what is saved now has the widget in it, as it has when Jupyter saves by itself
    _save(page)
    page.reload()
    page.wait_for_function(CONNECTED)
    page.click(".jp-Toolbar [data-command='notebook:interrupt-kernel']")
    page.evaluate(RUN_LAST)
    page.wait_for_selector("text=next: [0, 1]")
    # in the place of the widget that the reloaded page knows, and no widget any more
    page.wait_for_selector("text=/%%multiproc 2.*interrupted/")
    page.wait_for_selector(PANEL, state="detached")
    page.screenshot(path=pictures / "reloaded.png")


def test_two_views_of_a_panel_agree(page: Any, lab: str, lab_folder: Path, pictures: Path, gate: Path) -> None:
    page.set_viewport_size({"width": 1600, "height": 900})
    cell = f"""%%multiproc 2 --grace 60
try:
    print("rank", rank, "waits")
    threading.Event().wait(9999)
finally:
    print("tidying up")
    wait({str(gate)!r})"""
    _begin(page, lab, lab_folder, "cloned", [cell])
    page.wait_for_selector(f"{PANEL} >> text=rank 1 waits")
    page.evaluate(
        """() => {
            window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1;
            return window.jupyterapp.commands.execute('notebook:create-output-view');
        }"""
    )
    clone = ".jp-LinkedOutputView"
    page.wait_for_selector(f"{clone} {PANEL} >> text=rank 1 waits")
    page.click(f"{clone} {PANEL} .nbl-stop")
    # whichever was clicked, both have it
    for place in (".jp-Notebook", clone):
        page.wait_for_selector(f"{place} {PANEL}[data-state='stopping'] .nbl-stop >> text=Kill")
        page.wait_for_selector(f"{place} {PANEL} section[aria-label='rank 1'] >> text=tidying up")
    page.screenshot(path=pictures / "cloned.png")
    gate.touch()
    for place in (".jp-Notebook", clone):
        page.wait_for_selector(f"{place} >> text=/%%multiproc 2.*interrupted/")
        page.wait_for_selector(f"{place} {PANEL}", state="detached")


FAILING = """%%multiproc 3
print("\\x1b[32mrank", rank, "has begun\\x1b[0m")
print("<b>not bold</b>")
if rank == 1:
    raise ValueError("no data on this rank")
threading.Event().wait(9999)"""
SHOWN = ["✕ %%multiproc 3", "rank 1", "failed first", "no data on this rank", "[2] rank 2 has begun", "<b>not bold</b>"]


def test_the_record_is_wherever_the_notebook_goes(
    page: Any, lab: str, classic: str, lab_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    notebook = _begin(page, lab, lab_folder, "travels", [FAILING])
    page.wait_for_selector("text=RanksFailed: 1 of 3 ranks failed")
    page.wait_for_function(IDLE)
    _save(page)
    record, error = json.loads((lab_folder / notebook).read_text())["cells"][1]["outputs"]
    assert set(record["data"]) == {"text/html", "text/plain"}
    assert error["ename"] == "RanksFailed"

    page.reload()
    _look(page)
    _shut_down(page)
    # another server, and so another person: nothing in it is trusted
    page.goto(classic.format(notebook=notebook))
    page.wait_for_function(IDLE)
    assert not page.evaluate("window.jupyterapp.shell.currentWidget.content.widgets[1].model.trusted")
    _look(page)
    page.screenshot(path=pictures / "untrusted.png")
    _shut_down(page)

    for kind in ("html", "markdown"):
        command = [sys.executable, "-W", "ignore", "-m", "nbconvert", "--to", kind, "--output-dir", str(tmp_path)]
        subprocess.run([*command, str(lab_folder / notebook)], check=True, capture_output=True)
    page.goto((tmp_path / "travels.html").as_uri())
    _look(page)
    markdown = (tmp_path / "travels.md").read_text(encoding="utf-8")
    plain = re.sub(r"<[^>]*>", "", markdown)
    for text in SHOWN:
        assert text in plain.replace("&lt;", "<").replace("&gt;", ">")


def _look(page: Any) -> None:
    """See that the record is on the page."""
    page.wait_for_selector("text=/%%multiproc 3.*failed/ >> nth=0")
    shown = page.inner_text("body")
    for text in SHOWN:
        assert text in shown
    assert "rror displaying widget" not in shown
