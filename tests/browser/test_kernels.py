"""JupyterLab and Notebook 7 with old and new ipykernels: each lets a page's messages in by another way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import IDLE, IPYKERNELS, PANEL, RUN_ALL, WAIT, open_notebook, write_notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

CELL = """%%multiproc 2 --grace 60
import ipykernel
try:
    print("begun with", ipykernel.__version__)
    threading.Event().wait(9999)
finally:
    print("tidied up")"""


@pytest.mark.parametrize(
    ("frontend", "version"),
    [("lab", "6.31"), ("lab", "7.2"), ("classic", ""), ("classic", "6.31")],
    ids=lambda value: value or "installed",
)
def test_stop_while_the_cell_blocks(
    light_page: Any, lab: str, classic: str, lab_folder: Path, frontend: str, version: str
) -> None:
    if version and not (IPYKERNELS / version).is_dir():
        pytest.skip(f"ipykernel {version} is not there: make test installs it beside the environment's own")
    name = f"kernels-{frontend}-{version}.ipynb"
    write_notebook(lab_folder, name, ["%load_ext nblaunch" + WAIT, CELL])
    if version:
        notebook = json.loads((lab_folder / name).read_text())
        notebook["metadata"]["kernelspec"]["name"] = f"ipykernel-{version}"
        (lab_folder / name).write_text(json.dumps(notebook))
    open_notebook(light_page, {"lab": lab, "classic": classic}[frontend], name)
    light_page.evaluate(RUN_ALL)
    light_page.wait_for_selector(f"{PANEL} >> text=begun with {version}")
    light_page.click(f"{PANEL} .nbl-stop")
    light_page.wait_for_selector("text=KeyboardInterrupt: 2 of 2 ranks interrupted")
    light_page.wait_for_function(IDLE)
    shown = light_page.inner_text(".jp-Notebook")
    assert "■ %%multiproc 2 --grace 60" in shown
    assert "[0-1] tidied up" in shown
