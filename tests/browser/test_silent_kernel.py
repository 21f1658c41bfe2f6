"""A panel whose kernel is not heard any more: because it is gone, or busy, or because the connection is lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import CONNECTED, PANEL, begin, save

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

CELL = """%%multiproc 2
print("begun")
wait({gate!r})
print("the end of rank", rank)"""
PID = "import os; pathlib.Path({file!r}).write_text(str(os.getpid()))"
ELAPSED = f"document.querySelector('{PANEL} .nbl-elapsed').textContent"


def _begin(page: Any, address: str, folder: Path, name: str, gate: Path) -> tuple[str, int]:
    """Begin a run; return the notebook and the process id of its kernel."""
    file = gate.with_name(f"{gate.name}-pid")
    notebook = begin(page, address, folder, name, [PID.format(file=str(file)), CELL.format(gate=str(gate))])
    page.wait_for_selector(f"{PANEL} >> text=begun >> nth=0")
    return notebook, int(file.read_text())


def _is_lost(page: Any) -> None:
    page.wait_for_selector(f"{PANEL}[data-state='lost']")
    words = page.inner_text(f"{PANEL} .nbl-words")
    assert words.startswith("last heard from at ")
    assert words.endswith("; the kernel was restarted or has died")
    assert page.is_disabled(f"{PANEL} .nbl-stop")
    assert page.inner_text(f"{PANEL} .nbl-counts") == "2 were running"
    assert "grayscale" in page.evaluate(f"getComputedStyle(document.querySelector('{PANEL}')).filter")
    # what the page knows stands below, for whoever opens the file
    note = page.wait_for_selector(".nblaunch-note")
    assert "last heard from at" in note.inner_text()
    assert "2 were running; logs in /" in note.inner_text()


def _word_in(path: Path) -> str:
    """Return what the saved file tells of the run."""
    outputs = json.loads(path.read_text())["cells"][2]["outputs"]
    (note,) = [output for output in outputs if "text/html" in output.get("data", {})]
    word = "".join(note["data"]["text/plain"])
    # it stays for the person who wants to know what happened; here nobody does
    logs = re.search(r"logs in (/.*/nblaunch_\w+)/", word)
    assert logs is not None
    shutil.rmtree(logs[1], ignore_errors=True)
    return word


@pytest.mark.parametrize("frontend", ["lab", "classic"])
def test_a_kernel_that_is_killed(
    light_page: Any, lab: str, classic: str, lab_folder: Path, pictures: Path, gate: Path, frontend: str
) -> None:
    address = {"lab": lab, "classic": classic}[frontend]
    notebook, pid = _begin(light_page, address, lab_folder, f"killed-{frontend}", gate)
    os.kill(pid, signal.SIGKILL)
    _is_lost(light_page)
    stood = light_page.evaluate(ELAPSED)
    # Jupyter says it too
    light_page.click(".jp-Dialog button >> text=Ok")
    light_page.screenshot(path=pictures / f"killed-{frontend}.png")
    light_page.evaluate("window.jupyterapp.shell.currentWidget.context.save()")
    word = _word_in(lab_folder / notebook)
    assert "last lines of rank 1:\nbegun" in word
    assert light_page.evaluate(ELAPSED) == stood


@pytest.mark.parametrize("frontend", ["lab", "classic"])
def test_a_kernel_that_is_restarted_from_the_menu(
    light_page: Any, lab: str, classic: str, lab_folder: Path, gate: Path, frontend: str
) -> None:
    address = {"lab": lab, "classic": classic}[frontend]
    notebook, _ = _begin(light_page, address, lab_folder, f"restarted-{frontend}", gate)
    light_page.evaluate("void window.jupyterapp.commands.execute('notebook:restart-kernel')")
    light_page.click(".jp-Dialog .jp-mod-accept")
    _is_lost(light_page)
    light_page.wait_for_function(CONNECTED)
    save(light_page)
    assert "the kernel was restarted or has died" in _word_in(lab_folder / notebook)
    # and it stays so, although there is a kernel again
    light_page.evaluate(
        """() => {
            window.jupyterapp.shell.currentWidget.content.activeCellIndex = 0;
            return window.jupyterapp.commands.execute('notebook:run-cell');
        }"""
    )
    _is_lost(light_page)


def test_a_kernel_that_runs_c_code_is_not_called_dead(
    light_page: Any, lab: str, lab_folder: Path, gate: Path, tmp_path: Path
) -> None:
    held = tmp_path / "held"
    cells = [
        CELL.format(gate=str(gate)).replace("%%multiproc 2", "%%multiproc 2 --no-wait"),
        f"import ctypes\nwait({str(held)!r})\nctypes.PyDLL(None).sleep(9)",
    ]
    begin(light_page, lab, lab_folder, "c-code", cells)
    light_page.wait_for_selector(f"{PANEL} >> text=begun >> nth=0")
    held.touch()
    light_page.wait_for_selector(f"{PANEL}[data-state='silent']")
    words = light_page.inner_text(f"{PANEL} .nbl-words")
    assert words.startswith("not heard from since ")
    assert light_page.is_enabled(f"{PANEL} .nbl-stop")
    light_page.wait_for_selector(f"{PANEL}[data-state='running']")
    gate.touch()
    light_page.wait_for_selector("text=/finished in/")


def test_a_connection_that_is_lost_and_comes_back(
    light_page: Any, lab: str, lab_folder: Path, pictures: Path, gate: Path, tmp_path: Path
) -> None:
    routes: list[Any] = []
    is_down = False

    def connect(route: Any) -> None:
        if is_down:
            route.close(code=1001)
        else:
            routes.append(route)
            route.connect_to_server()

    light_page.route_web_socket("**/channels*", connect)
    written = tmp_path / "written"
    cell = CELL.format(gate=str(gate)).replace("wait(", f"wait({str(written)!r}); print('meanwhile'); wait(", 1)
    begin(light_page, lab, lab_folder, "disconnected", [cell])
    light_page.wait_for_selector(f"{PANEL} >> text=begun >> nth=0")
    is_down = True
    for route in routes:
        route.close(code=1001)
    light_page.wait_for_selector(f"{PANEL}[data-state='silent']")
    light_page.screenshot(path=pictures / "disconnected.png")
    written.touch()
    is_down = False
    # JupyterLab tries less and less often, and gives up in the end
    light_page.evaluate("window.jupyterapp.commands.execute('notebook:reconnect-to-kernel')")
    light_page.wait_for_selector(f"{PANEL}[data-state='running']")
    # what was written meanwhile is there, and so is the record
    light_page.wait_for_selector(f"{PANEL} >> text=meanwhile >> nth=0")
    gate.touch()
    light_page.wait_for_selector("text=/finished in/")
    light_page.wait_for_selector(PANEL, state="detached")
    assert "[0-1] meanwhile" in light_page.inner_text(".jp-Notebook")
