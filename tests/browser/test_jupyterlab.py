"""What a person sees in JupyterLab."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

IDLE = """() => {
    const app = window.jupyterapp;
    const panel = app && app.shell.currentWidget;
    return Boolean(panel && panel.sessionContext && panel.sessionContext.session &&
        panel.sessionContext.session.kernel && panel.sessionContext.session.kernel.status === 'idle');
}"""


def _open(page: Any, lab: str, notebook: str) -> None:
    page.goto(lab.format(notebook=notebook))
    page.wait_for_function(IDLE)
    theme = f"JupyterLab {page.theme.title()}"
    page.evaluate(f"window.jupyterapp.commands.execute('apputils:change-theme', {{theme: '{theme}'}})")
    page.wait_for_selector(f"body[data-jp-theme-name='{theme}']", state="attached")
    page.evaluate("window.jupyterapp.shell.collapseLeft()")


def _write(folder: Path, name: str, cells: list[str]) -> None:
    notebook = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "cells": [
            {
                "cell_type": "code",
                "id": f"cell{i}",
                "metadata": {},
                "outputs": [],
                "execution_count": None,
                "source": source,
            }
            for i, source in enumerate(cells)
        ],
    }
    (folder / name).write_text(json.dumps(notebook))


def test_a_failure_explains_itself_and_stops_run_all(page: Any, lab: str, lab_folder: Path, pictures: Path) -> None:
    _write(
        lab_folder,
        f"failure-{page.theme}.ipynb",
        [
            "%load_ext nblaunch\ndef share(n, parts):\n    return n // parts",
            "%%multiproc 4\nimport time\nif rank == 2:\n    share(12, rank - 2)\ntime.sleep(9999)",
            "print('never reached')",
        ],
    )
    _open(page, lab, f"failure-{page.theme}.ipynb")
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait_for_selector("text=ZeroDivisionError: integer division or modulo by zero")
    page.wait_for_function(IDLE)
    shown = page.inner_text(".jp-Notebook")
    assert "Rank 2 failed first" in shown
    assert "Cell In[2], line 4" in shown
    assert "Cell In[1], line 3, in share" in shown
    assert "ranks 0-1, 3 were ended because of that" in shown
    assert "\nnever reached" not in shown
    page.screenshot(path=pictures / f"failure-{page.theme}.png")


def test_the_first_cells_of_the_readme(page: Any, lab: str, lab_folder: Path, pictures: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    cells = re.findall(r"```python\n(.*?)\n```", readme, re.DOTALL)[:3]
    _write(lab_folder, f"readme-{page.theme}.ipynb", cells)
    page.set_viewport_size({"width": 1000, "height": 560})
    _open(page, lab, f"readme-{page.theme}.ipynb")
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait_for_selector("text=[1] gamma 0.001: 0.97")
    page.wait_for_selector("text=/^{0: .*0.9/")
    page.wait_for_function(IDLE)
    page.screenshot(path=pictures / f"readme-{page.theme}.png")


def test_the_quick_start(page: Any, lab: str, pictures: Path) -> None:
    _open(page, lab, "quickstart.ipynb")
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait_for_selector(".jp-OutputArea img")
    page.wait_for_selector("text=/^{.accuracy/")
    page.wait_for_function(IDLE)
    page.locator(".jp-OutputArea img").first.scroll_into_view_if_needed()
    page.screenshot(path=pictures / f"quickstart-{page.theme}.png")
