"""A debugger session on one rank, typed into JupyterLab's input box."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import IDLE, open_notebook, write_notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

BOX = ".jp-Stdin-input"


def _enter(page: Any, line: str) -> None:
    """Type a line into the box, and wait until the box is gone that it was typed into."""
    box = page.wait_for_selector(f"{BOX}:not([disabled])")
    box.fill(line)
    box.press("Enter")
    box.wait_for_element_state("hidden")


def test_a_debugger_session(page: Any, lab: str, lab_folder: Path, pictures: Path) -> None:
    name = f"debugger-{page.theme}.ipynb"
    write_notebook(
        lab_folder,
        name,
        [
            "%load_ext nblaunch\ndef share(n, parts):\n    return n // parts",
            "%%multiproc 4 --pdb\nimport threading\nif rank == 2:\n    share(12, rank - 2)\nthreading.Event().wait()",
        ],
    )
    open_notebook(page, lab, name)
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait_for_selector(f"{BOX}:not([disabled])")
    assert page.inner_text(".jp-Stdin-prompt").strip() == "rank 2 ipdb>"
    _enter(page, "p n, parts")
    page.wait_for_selector("text=(12, 0)")
    page.wait_for_selector(f"{BOX}:not([disabled])")
    page.locator(BOX).scroll_into_view_if_needed()
    page.screenshot(path=pictures / f"debugger-{page.theme}.png")
    _enter(page, "c")
    page.wait_for_selector("text=Rank 2 failed first")
    page.wait_for_function(IDLE)
    shown = page.inner_text(".jp-Notebook")
    assert "rank 2 waits at Cell In[1], line 3." in shown
    assert "ranks 0-1, 3 were ended because of that" in shown


def test_a_box_that_was_left_answers_no_other_question(page: Any, lab: str, lab_folder: Path) -> None:
    """JupyterLab keeps the box of a question that nobody waits for, and sends what is typed into it."""
    name = f"hold-{page.theme}.ipynb"
    cells = ["%load_ext nblaunch", "%%multiproc 1 --pdb --hold 1 --no-raise\n1 / 0", "%%multiproc 1\ninput('next? ')"]
    write_notebook(lab_folder, name, [*cells, "results"])
    open_notebook(page, lab, name)
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait_for_selector("text=rank 0 does not wait for an answer any more.")
    page.wait_for_selector("text=rank 0: next?")
    for which, line in ((page.locator(BOX).first, "stale"), (page.locator(BOX).last, "fresh")):
        which.fill(line)
        which.press("Enter")
    page.wait_for_selector("text={0: 'fresh'}")
    page.wait_for_function(IDLE)
