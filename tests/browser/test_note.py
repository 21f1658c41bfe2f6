"""The note for a notebook whose kernel dies during a run: in the file, and not before a person's eyes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import IDLE, PANEL, begin, open_notebook, save

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

NOTED = """import nblaunch.panel.live as live
live._NOTE_PERIOD = 0.0
kept = live.LivePanel._note_that_it_runs
live.LivePanel._note_that_it_runs = lambda panel: kept(panel) if pathlib.Path(GATE).exists() else None"""
HEIGHTS_OF_OUTPUTS = "[...document.querySelectorAll('.jp-OutputArea-child')].map(output => output.offsetHeight)"
HEIGHTS = "[...document.querySelectorAll('.jp-OutputArea')].map(area => area.getBoundingClientRect().height)"


def test_the_note_moves_nothing_while_the_panel_lives(
    light_page: Any, lab: str, lab_folder: Path, pictures: Path, gate: Path
) -> None:
    note = gate.with_name(f"{gate.name}-note")
    cells = [
        NOTED.replace("GATE", repr(str(note))),
        f"%%multiproc 2\nprint('waits')\nwait({str(gate)!r})",
        "print('the', 'end')",
    ]
    notebook = begin(light_page, lab, lab_folder, "noted", cells)
    light_page.wait_for_selector(f"{PANEL} >> text=waits")
    before = light_page.evaluate(HEIGHTS)
    note.touch()
    light_page.wait_for_selector(".nblaunch-note", state="attached")
    assert light_page.evaluate(HEIGHTS) == before
    assert not light_page.is_visible(".nblaunch-note")
    assert light_page.is_visible(PANEL)
    light_page.screenshot(path=pictures / "noted.png")
    # it is in the file, and seen where there is no panel
    save(light_page)
    saved = json.loads((lab_folder / notebook).read_text())
    widget, noted = saved["cells"][2]["outputs"]
    assert "application/vnd.jupyter.widget-view+json" in widget["data"]
    assert "%%multiproc 2: running since" in "".join(noted["data"]["text/plain"])
    gate.touch()
    light_page.wait_for_selector("text=the end")
    light_page.wait_for_function(IDLE)
    assert light_page.locator(".nblaunch-note").count() == 0
    # its place stays, and is empty
    assert light_page.evaluate(HEIGHTS_OF_OUTPUTS)[1] == 0
    # the saved notebook of a kernel that has died meanwhile
    (lab_folder / "dead.ipynb").write_text(json.dumps(saved))
    open_notebook(light_page, lab, "dead.ipynb")
    light_page.wait_for_selector(".nblaunch-note")
    light_page.screenshot(path=pictures / "noted-dead.png")
    assert "%%multiproc 2: running since" in light_page.inner_text(".jp-Notebook")
