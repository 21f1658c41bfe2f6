"""The panel and its record where else a person may meet them: reloaded, in two views, in other hands, converted."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import (
    CONNECTED,
    IDLE,
    PANEL,
    RUN_ALL,
    WAIT,
    begin,
    open_notebook,
    save,
    shut_down,
    write_notebook,
)

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

RUN_LAST = """() => {
    const { content } = window.jupyterapp.shell.currentWidget;
    content.activeCellIndex = content.widgets.length - 1;
    void window.jupyterapp.commands.execute('notebook:run-cell');
}"""


STOPPED = """%%multiproc 2 --grace 60
try:
    print("begun")
    threading.Event().wait(9999)
finally:
    print("tidied up")"""


def test_a_page_that_is_reloaded_during_a_run(light_page: Any, lab: str, lab_folder: Path, pictures: Path) -> None:
    begin(light_page, lab, lab_folder, "reloaded", [STOPPED, "print('next:', sorted(failures))"])
    light_page.wait_for_selector(f"{PANEL} >> text=begun")
    # what is saved now has the widget in it, as it has when Jupyter saves by itself
    save(light_page)
    light_page.reload()
    light_page.wait_for_function(CONNECTED)
    light_page.click(".jp-Toolbar [data-command='notebook:interrupt-kernel']")
    light_page.evaluate(RUN_LAST)
    light_page.wait_for_selector("text=next: [0, 1]")
    # in the place of the widget that the reloaded page knows, and no widget any more
    light_page.wait_for_selector("text=/%%multiproc 2.*interrupted/")
    light_page.wait_for_selector(PANEL, state="detached")
    light_page.screenshot(path=pictures / "reloaded.png")


def test_two_views_of_a_panel_agree(light_page: Any, lab: str, lab_folder: Path, pictures: Path, gate: Path) -> None:
    light_page.set_viewport_size({"width": 1600, "height": 900})
    cell = f"""%%multiproc 2 --grace 60
try:
    print("rank", rank, "waits")
    threading.Event().wait(9999)
finally:
    print("tidying up")
    wait({str(gate)!r})"""
    begin(light_page, lab, lab_folder, "cloned", [cell])
    light_page.wait_for_selector(f"{PANEL} >> text=rank 1 waits")
    light_page.evaluate(
        """() => {
            window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1;
            return window.jupyterapp.commands.execute('notebook:create-output-view');
        }"""
    )
    clone = ".jp-LinkedOutputView"
    light_page.wait_for_selector(f"{clone} {PANEL} >> text=rank 1 waits")
    light_page.click(f"{clone} {PANEL} .nbl-stop")
    # whichever was clicked, both have it
    for place in (".jp-Notebook", clone):
        light_page.wait_for_selector(f"{place} {PANEL}[data-state='stopping'] .nbl-stop >> text=Kill")
        light_page.wait_for_selector(f"{place} {PANEL} section[aria-label='rank 1'] >> text=tidying up")
    light_page.screenshot(path=pictures / "cloned.png")
    gate.touch()
    for place in (".jp-Notebook", clone):
        light_page.wait_for_selector(f"{place} >> text=/%%multiproc 2.*interrupted/")
        light_page.wait_for_selector(f"{place} {PANEL}", state="detached")


FAILING = """%%multiproc 3
print("\\x1b[32mrank", rank, "has begun\\x1b[0m")
print("<b>not bold</b>")
if rank == 1:
    raise ValueError("no data on this rank")
threading.Event().wait(9999)"""
SHOWN = ["✕ %%multiproc 3", "rank 1", "failed first", "no data on this rank", "[2] rank 2 has begun", "<b>not bold</b>"]


def test_the_record_is_wherever_the_notebook_goes(
    light_page: Any, lab: str, classic: str, lab_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    notebook = begin(light_page, lab, lab_folder, "travels", [FAILING])
    light_page.wait_for_selector("text=RanksFailed: 1 of 3 ranks failed")
    light_page.wait_for_function(IDLE)
    save(light_page)
    record, error = json.loads((lab_folder / notebook).read_text())["cells"][1]["outputs"]
    assert set(record["data"]) == {"text/html", "text/plain"}
    assert error["ename"] == "RanksFailed"

    light_page.reload()
    _look(light_page)
    shut_down(light_page)
    # another server, and so another person: nothing in it is trusted
    light_page.goto(classic.format(notebook=notebook))
    light_page.wait_for_function(IDLE)
    assert not light_page.evaluate("window.jupyterapp.shell.currentWidget.content.widgets[1].model.trusted")
    _look(light_page)
    light_page.screenshot(path=pictures / "untrusted.png")
    shut_down(light_page)

    for kind in ("html", "markdown"):
        command = [sys.executable, "-W", "ignore", "-m", "nbconvert", "--to", kind, "--output-dir", str(tmp_path)]
        subprocess.run([*command, str(lab_folder / notebook)], check=True, capture_output=True)
    light_page.goto((tmp_path / "travels-light.html").as_uri())
    _look(light_page)
    markdown = (tmp_path / "travels-light.md").read_text(encoding="utf-8")
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


DROP_BUFFERS = """() => {
    const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session;
    const take = kernel._handleMessage;
    window.dropped = 0;
    kernel._handleMessage = function (message) {
        if (message.buffers?.length) window.dropped++;
        message.buffers = [];
        return take.call(this, message);
    };
}"""


def test_a_frontend_that_loses_binary_buffers(light_page: Any, lab: str, lab_folder: Path, gate: Path) -> None:
    """As Google Colab's does: the page finds that out, and is sent the bytes in the messages themselves."""
    cell = f"""%%multiproc 2 --grace 60
print("größer \\x1b[32mgreen\\x1b[0m", rank)
wait({str(gate)!r})
print("and then", rank)
threading.Event().wait(9999)"""
    write_notebook(lab_folder, "lossy.ipynb", ["%load_ext nblaunch" + WAIT, cell])
    open_notebook(light_page, lab, "lossy.ipynb")
    light_page.evaluate(DROP_BUFFERS)
    light_page.evaluate(RUN_ALL)
    for rank in range(2):
        light_page.wait_for_selector(f"{PANEL} section[aria-label='rank {rank}'] >> text=größer green {rank}")
    dropped = light_page.evaluate("window.dropped")
    assert dropped > 0
    gate.touch()
    for rank in range(2):
        light_page.wait_for_selector(f"{PANEL} section[aria-label='rank {rank}'] >> text=and then {rank}")
    light_page.click(f"{PANEL} .nbl-stop")
    light_page.wait_for_selector("text=KeyboardInterrupt: 2 of 2 ranks interrupted")
    light_page.wait_for_function(IDLE)
    # no more were sent since, but for what was on its way
    assert light_page.evaluate("window.dropped") <= dropped + 2
