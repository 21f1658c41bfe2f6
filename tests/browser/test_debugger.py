"""A debugger session on one rank, typed into JupyterLab's input box."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import IDLE, PANEL, begin, open_notebook, write_notebook

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
    waits = "waits in its debugger, Cell In[1], line 3"
    assert page.get_attribute(f"{PANEL} section[aria-label='rank 2'] .nbl-fate", "title") == waits
    assert page.get_attribute(f"{PANEL} .nbl-words", "title") == f"running: rank 2 {waits}"
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


def test_a_rank_that_asks_is_seen_although_nobody_waits(page: Any, lab: str, lab_folder: Path, pictures: Path) -> None:
    cells = ["%%multiproc 4 --no-wait --out job\nif rank == 1:\n    name = input('name? ')\nthreading.Event().wait()"]
    begin(page, lab, lab_folder, "asks", cells)
    fate = page.wait_for_selector(
        f"{PANEL} section[aria-label='rank 1'] .nbl-asking >> text=asks (%multiproc debug 1): name?"
    )
    page.wait_for_function(IDLE)
    assert page.get_attribute(f"{PANEL} .nbl-words", "title") == "running: rank 1 asks (%multiproc debug 1): name?"
    page.wait_for_selector("text=rank 1 waits: asks 'name? '. %multiproc debug 1 answers, or debug(1) of its Run.")
    page.screenshot(path=pictures / f"asks-{page.theme}.png")
    _run_in_new_cell(page, "%multiproc debug 1")
    _enter(page, "Ada")
    fate.wait_for_element_state("hidden")
    page.wait_for_function(f"document.querySelector('{PANEL} .nbl-words').title === 'running'")
    page.wait_for_function(IDLE)
    _run_in_new_cell(page, "%multiproc stop")
    page.wait_for_selector(PANEL, state="detached")


def _run_in_new_cell(page: Any, code: str) -> None:
    """Run code in a cell below the others."""
    page.evaluate(
        """async code => {
            const { commands, shell } = window.jupyterapp;
            await commands.execute('notebook:insert-cell-below');
            shell.currentWidget.content.activeCell.model.sharedModel.setSource(code);
            void commands.execute('notebook:run-cell');
        }""",
        code,
    )
