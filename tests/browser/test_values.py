"""Values, failures and cleared output as a person sees them in JupyterLab."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import IDLE, begin

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

FRAME = "import pandas\npandas.DataFrame({'epoch': [0, 1, 2], 'loss': [0.9, 0.4, 0.1 + rank // 2]})"
FIGURE = "import matplotlib.pyplot as plt\nfig, axes = plt.subplots(figsize=(3, 1.5))\naxes.plot([1, 2 + rank])\nfig"


def test_values_below_the_cell(page: Any, lab: str, lab_folder: Path, pictures: Path) -> None:
    cells = ["print('from', rank)\n{'loss': 0.25, 'rank': rank // 3}", FRAME, FIGURE, "rank;"]
    begin(page, lab, lab_folder, "values", [f"%%multiproc 4\n{cell}" for cell in cells])
    page.wait_for_function("() => document.querySelectorAll('.jp-OutputArea img').length >= 4")
    page.wait_for_function(IDLE)
    shown = page.inner_text(".jp-Notebook")
    assert "ranks 0-2: {'loss': 0.25, 'rank': 0}" in shown
    assert page.locator(".jp-OutputArea table.dataframe").count() == 2
    assert page.locator(".jp-OutputArea img").count() == 4, "a figure that stands there is not shown as the value too"
    assert shown.count("hold what came back") == 1
    page.set_viewport_size({"width": 1100, "height": 2600})
    page.screenshot(path=pictures / f"values-{page.theme}.png")


def test_a_failure_is_told_once(page: Any, lab: str, lab_folder: Path, pictures: Path) -> None:
    cell = (
        "%%multiproc 4\nimport time\nprint('begins', rank)\n"
        "if rank == 2:\n    raise ValueError('no data')\ntime.sleep(9999)"
    )
    begin(page, lab, lab_folder, "told-once", [cell])
    page.wait_for_selector("text=Rank 2 failed first")
    page.wait_for_function(IDLE)
    page.wait_for_selector("text=✕ failed first")
    shown = page.inner_text(".jp-Notebook")
    assert shown.count("ValueError: no data") == 1
    assert "was at line 6, ended" in shown
    page.screenshot(path=pictures / f"told-once-{page.theme}.png")


def test_what_a_rank_clears_goes_live_and_in_the_record(
    page: Any, lab: str, lab_folder: Path, pictures: Path, gate: Path
) -> None:
    cell = (
        "%%multiproc 2\nfrom IPython.display import clear_output\nimport sys\nprint('never seen at the end')\n"
        f"print('nor this', file=sys.stderr, flush=True)\nwait({str(gate) + '.first'!r})\n"
        "for epoch in range(300):\n    clear_output(wait=True)\n"
        "    print('rank', rank, 'epoch', epoch)\n    print('of 300')\n"
        f"wait({str(gate)!r})\nprint('done')"
    )
    begin(page, lab, lab_folder, "cleared", [cell])
    page.wait_for_selector(".nbl-panel >> text=never seen at the end")
    page.wait_for_selector(".nbl-panel >> text=nor this")
    Path(f"{gate}.first").touch()
    page.wait_for_selector(".nbl-panel >> text=rank 0 epoch 299")
    page.wait_for_selector(".nbl-panel >> text=rank 1 epoch 299")
    panel = page.inner_text(".nbl-panel")
    assert panel.count("of 300") == 2
    assert "never seen at the end" not in panel
    assert "nor this" not in panel
    for view in ("Merged", "Folded"):
        page.locator(".nbl-panel").get_by_text(view, exact=True).click()
        page.wait_for_selector(".nbl-panel >> text=rank 1 epoch 299")
        assert "never seen at the end" not in page.inner_text(".nbl-panel")
    page.screenshot(path=pictures / f"cleared-live-{page.theme}.png")
    gate.touch()
    page.wait_for_selector("text=✓ %%multiproc 2")
    page.wait_for_function(IDLE)
    record = page.inner_text(".jp-Notebook .jp-OutputArea >> nth=-1")
    assert [line for line in record.splitlines() if line.startswith("[")] == [
        "[0] rank 0 epoch 299",
        "[1] rank 1 epoch 299",
        "[0-1] of 300",
        "[0-1] done",
    ]
    page.screenshot(path=pictures / f"cleared-{page.theme}.png")
