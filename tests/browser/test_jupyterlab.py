"""What a person sees in JupyterLab."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import IDLE, open_notebook, write_notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


def test_a_failure_explains_itself_and_stops_run_all(page: Any, lab: str, lab_folder: Path, pictures: Path) -> None:
    write_notebook(
        lab_folder,
        f"failure-{page.theme}.ipynb",
        [
            "%load_ext nblaunch\ndef share(n, parts):\n    return n // parts",
            "%%multiproc 4\nimport time\nif rank == 2:\n    share(12, rank - 2)\ntime.sleep(9999)",
            "print('never reached')",
        ],
    )
    page.set_viewport_size({"width": 1000, "height": 820})
    open_notebook(page, lab, f"failure-{page.theme}.ipynb")
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
    write_notebook(lab_folder, f"readme-{page.theme}.ipynb", cells)
    page.set_viewport_size({"width": 1000, "height": 660})
    open_notebook(page, lab, f"readme-{page.theme}.ipynb")
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait_for_selector("text=[1] gamma 0.001: 0.97")
    page.wait_for_selector("text=/^{0: .*0.9/")
    page.wait_for_function(IDLE)
    page.screenshot(path=pictures / f"readme-{page.theme}.png")


def test_the_quick_start(page: Any, lab: str, pictures: Path) -> None:
    # JupyterLab takes cells that are out of sight out of the page: all of them are in sight here
    page.set_viewport_size({"width": 1100, "height": 6000})
    open_notebook(page, lab, "quickstart.ipynb")
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait_for_selector(".jp-OutputArea img")
    page.wait_for_selector("text=/^{.accuracy/")
    page.wait_for_function(IDLE)
    page.evaluate("Promise.all([...document.images].map((image) => image.decode()))")
    top = max(0, page.locator(".jp-OutputArea img").first.bounding_box()["y"] - 450)
    page.screenshot(
        path=pictures / f"quickstart-{page.theme}.png", clip={"x": 0, "y": top, "width": 1100, "height": 900}
    )
