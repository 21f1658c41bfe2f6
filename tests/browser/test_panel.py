"""The live panel and its record, as a person sees them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.browser.test_jupyterlab import IDLE, _open, _write

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

PANEL = ".nbl-panel"
RUN_ALL = "void window.jupyterapp.commands.execute('notebook:run-all-cells')"
WAIT = """
import pathlib, threading
def wait(gate):
    while not pathlib.Path(gate).exists():
        threading.Event().wait(0.05)
"""


@pytest.fixture
def gate(lab_folder: Path, request: pytest.FixtureRequest) -> Path:
    """A file that the ranks of a test wait for."""
    return lab_folder / re.sub(r"\W+", "-", f"gate-{request.node.name}")


def _begin(page: Any, lab: str, folder: Path, name: str, cells: list[str]) -> str:
    notebook = f"{name}-{page.theme}.ipynb"
    _write(folder, notebook, ["%load_ext nblaunch" + WAIT, *cells])
    _open(page, lab, notebook)
    page.evaluate(RUN_ALL)
    return notebook


def _save(page: Any) -> None:
    page.evaluate("window.jupyterapp.shell.currentWidget.context.save()")


def _outputs(folder: Path, notebook: str, cell: int) -> list[dict[str, Any]]:
    outputs: list[dict[str, Any]] = json.loads((folder / notebook).read_text())["cells"][cell]["outputs"]
    return outputs


def test_a_run_is_seen_while_its_cell_blocks(page: Any, lab: str, lab_folder: Path, pictures: Path, gate: Path) -> None:
    cell = f"""%%multiproc 4
import sys
print("\\x1b[32mrank", rank, "waits\\x1b[0m")
print("to stderr", file=sys.stderr)
for percent in range(0, 101, 10):
    print(f"\\rloading {{percent:3d}} %", end="", file=sys.stderr)
wait({str(gate)!r})
rank ** 2"""
    notebook = _begin(page, lab, lab_folder, "panel", [cell, "results"])
    page.wait_for_selector(f"{PANEL} >> text=rank 3 waits")
    page.wait_for_selector(f"{PANEL} >> text=loading 100 %")
    page.wait_for_selector(f"{PANEL} >> text=running")
    assert page.locator(f"{PANEL} .nbl-pane").count() == 4
    assert "{0: 0" not in page.inner_text(".jp-Notebook")
    page.screenshot(path=pictures / f"panel-{page.theme}.png")
    gate.touch()
    page.wait_for_selector("text={0: 0, 1: 1, 2: 4, 3: 9}")
    page.wait_for_selector(PANEL, state="detached")
    page.wait_for_function(IDLE)
    shown = page.inner_text(".jp-Notebook")
    assert "✓ %%multiproc 4" in shown
    assert "[0-3] ! loading 100 %" in shown
    page.screenshot(path=pictures / f"record-{page.theme}.png")
    _save(page)
    (output,) = _outputs(lab_folder, notebook, 1)
    assert set(output["data"]) == {"text/html", "text/plain"}


TRAINING = """%%multiproc 4
from tqdm import tqdm
steps = 3000 * (rank + 1)
print(f"{steps:,} samples in this shard")
for epoch in range(1, 4):
    with tqdm(total=steps, desc=f"epoch {epoch}", leave=False) as bar:
        for step in range(0, steps, 50):
            loss = (4 + rank) / (epoch * 3000 + step)
            bar.update(50)
            if epoch == 3 and step == 1000 + 1500 * rank:
                bar.refresh()
                wait(GATE)
    print(f"epoch {epoch}: \\x1b[32mloss {1000 * loss:.3f}\\x1b[0m")
loss"""


def test_the_picture_of_the_readme(page: Any, lab: str, lab_folder: Path, pictures: Path, gate: Path) -> None:
    page.set_viewport_size({"width": 1000, "height": 1150})
    _begin(page, lab, lab_folder, "training", [TRAINING.replace("GATE", repr(str(gate)))])
    page.wait_for_selector(f"{PANEL} >> text=12,000 samples in this shard")
    page.wait_for_function(f"document.querySelector('{PANEL}').innerText.match(/epoch 3: +\\d+%/g)?.length >= 4")
    # memory and CPU are known
    page.wait_for_selector(f"{PANEL} .nbl-memory >> text=MB")
    page.locator(PANEL).screenshot(path=pictures / f"training-{page.theme}.png")
    gate.touch()
    page.wait_for_selector("text=/%%multiproc 4.*finished/")
    page.wait_for_function(IDLE)


def test_stop_ends_the_ranks_while_the_cell_blocks(page: Any, lab: str, lab_folder: Path, pictures: Path) -> None:
    cell = """%%multiproc 4 --grace 60
try:
    print("begun")
    threading.Event().wait(9999)
finally:
    print("tidied up")"""
    _begin(page, lab, lab_folder, "stop", [cell])
    page.wait_for_selector(f"{PANEL} >> text=begun")
    page.click(f"{PANEL} .nbl-stop")
    page.wait_for_selector("text=KeyboardInterrupt: 4 of 4 ranks interrupted")
    page.wait_for_function(IDLE)
    shown = page.inner_text(".jp-Notebook")
    assert "[0-3] tidied up" in shown
    page.screenshot(path=pictures / f"stopped-{page.theme}.png")


def test_a_second_click_kills(page: Any, lab: str, lab_folder: Path) -> None:
    cell = """%%multiproc 2 --grace 9999
import signal
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: print("deaf", flush=True))
print("begun")
while True:
    threading.Event().wait(1)"""
    _begin(page, lab, lab_folder, "kill", [cell])
    page.wait_for_selector(f"{PANEL} >> text=begun")
    page.click(f"{PANEL} .nbl-stop")
    page.wait_for_selector(f"{PANEL} >> text=deaf")
    page.click(f"{PANEL} .nbl-stop >> text=Kill")
    page.wait_for_selector("text=KeyboardInterrupt: 2 of 2 ranks interrupted")


def test_the_failure_comes_forward(page: Any, lab: str, lab_folder: Path, pictures: Path, gate: Path) -> None:
    cell = f"""%%multiproc 4 --on-failure continue
print("epoch 1")
if rank == 2:
    raise ValueError("no data on this rank")
wait({str(gate)!r})"""
    _begin(page, lab, lab_folder, "cause", [cell])
    cause = page.wait_for_selector(f"{PANEL} .nbl-cause:visible")
    assert "rank 2 failed first: ValueError: no data on this rank" in cause.inner_text()
    page.wait_for_selector(f"{PANEL} .nbl-trace >> text=ValueError")
    page.screenshot(path=pictures / f"cause-{page.theme}.png")
    gate.touch()
    page.wait_for_selector("text=RanksFailed: 1 of 4 ranks failed")
    page.wait_for_function(IDLE)
    page.screenshot(path=pictures / f"failed-record-{page.theme}.png")


def test_many_ranks_are_a_map(page: Any, lab: str, lab_folder: Path, pictures: Path, gate: Path) -> None:
    cell = f"""%%multiproc 64
print("rank", rank, "is here")
wait({str(gate)!r})"""
    _begin(page, lab, lab_folder, "map", [cell])
    page.wait_for_selector(f"{PANEL} >> text=rank 0 is here")
    page.wait_for_selector(f"{PANEL} >> text=64 running")
    page.screenshot(path=pictures / f"map-{page.theme}.png")
    gate.touch()
    page.wait_for_selector("text=64 ranks")
    page.wait_for_function(IDLE)


EVIL = r"""%%multiproc 2
import sys
evil = [
    "<script>window.hacked = 1</script>", "<img src=x onerror='window.hacked = 2'>",
    "</pre><svg onload='window.hacked = 3'>", "\x1b]8;;javascript:window.hacked=4\x07click\x1b]8;;\x07",
    "\u202egnp.exe", "\0\0", "' onmouseover='window.hacked=5",
]
for text in evil:
    print(text)
    print(text, file=sys.stderr)
sys.stdout.buffer.write(b"\xff\xfe\xc3(\n" + b"x" * 10_000_000 + b"\n")
print("the end")
wait(GATE)
raise ValueError("<img src=x onerror='window.hacked = 6'>")"""


def test_what_ranks_write_runs_nothing(page: Any, lab: str, lab_folder: Path, gate: Path) -> None:
    notebook = _begin(page, lab, lab_folder, "evil", [EVIL.replace("GATE", repr(str(gate)))])
    page.wait_for_selector(f"{PANEL} >> text=the end")
    for mode in ("Merged", "Folded"):
        page.click(f"{PANEL} >> text={mode}")
        page.wait_for_selector(f"{PANEL} >> text=the end")
    gate.touch()
    page.wait_for_selector("text=RanksFailed: 2 of 2 ranks failed")
    page.wait_for_function(IDLE)
    assert page.evaluate("window.hacked") is None
    _save(page)
    # another person opens it: nothing is trusted, and the record is there
    text = (lab_folder / notebook).read_text()
    (lab_folder / f"copy-{notebook}").write_text(text.replace("the end", "the  end"))
    _open(page, lab, f"copy-{notebook}")
    page.wait_for_selector("text=2 of 2 ranks failed >> nth=0")
    page.wait_for_selector("text=✕ failed >> nth=0")
    assert page.evaluate("window.hacked") is None
