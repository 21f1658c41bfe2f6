"""JupyterLab and Notebook 7 with old and new ipykernels: each lets a page's messages in by another way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import IPYKERNELS
from tests.browser.test_jupyterlab import IDLE, _open, _write
from tests.browser.test_panel import PANEL, RUN_ALL, WAIT

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

CELL = """%%multiproc 2 --grace 60
import ipykernel
try:
    print("begun with", ipykernel.__version__)
    threading.Event().wait(9999)
finally:
    print("tidied up")"""


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """Open a page; one theme is enough here."""
    context = browser.new_context(viewport={"width": 1100, "height": 900}, color_scheme="light")
    page = context.new_page()
    page.set_default_timeout(45_000)
    page.theme = "light"
    yield page
    page.evaluate("window.jupyterapp && window.jupyterapp.serviceManager.sessions.shutdownAll()")
    context.close()


@pytest.mark.parametrize(
    ("frontend", "version"),
    [("lab", "6.31"), ("lab", "7.2"), ("classic", ""), ("classic", "6.31")],
    ids=lambda value: value or "installed",
)
def test_stop_while_the_cell_blocks(
    page: Any, lab: str, classic: str, lab_folder: Path, frontend: str, version: str
) -> None:
    if version and not (IPYKERNELS / version).is_dir():
        pytest.skip(f"ipykernel {version} is not there: make test installs it beside the environment's own")
    name = f"kernels-{frontend}-{version}.ipynb"
    _write(lab_folder, name, ["%load_ext nblaunch" + WAIT, CELL])
    if version:
        notebook = json.loads((lab_folder / name).read_text())
        notebook["metadata"]["kernelspec"]["name"] = f"ipykernel-{version}"
        (lab_folder / name).write_text(json.dumps(notebook))
    _open(page, {"lab": lab, "classic": classic}[frontend], name)
    page.evaluate(RUN_ALL)
    page.wait_for_selector(f"{PANEL} >> text=begun with {version}")
    page.click(f"{PANEL} .nbl-stop")
    page.wait_for_selector("text=KeyboardInterrupt: 2 of 2 ranks interrupted")
    page.wait_for_function(IDLE)
    shown = page.inner_text(".jp-Notebook")
    assert "■ %%multiproc 2 --grace 60" in shown
    assert "[0-1] tidied up" in shown
