"""The live panel and its record, as a person sees them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import IDLE, PANEL, begin, open_notebook, save

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


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
    notebook = begin(page, lab, lab_folder, "panel", [cell, "results"])
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
    assert "[0-3] loading 100 %" in shown
    page.screenshot(path=pictures / f"record-{page.theme}.png")
    save(page)
    output, values = _outputs(lab_folder, notebook, 1)
    assert set(output["data"]) == {"text/html", "text/plain"}
    assert set(values["data"]) == {"text/plain"}


def test_what_a_run_waits_for_before_its_ranks_start(
    light_page: Any, lab: str, lab_folder: Path, pictures: Path, gate: Path
) -> None:
    package = lab_folder / "site-packages" / "slowlearn"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        f"""import pathlib, threading
while not pathlib.Path({str(gate)!r}).exists():
    threading.Event().wait(0.05)
"""
    )
    ahead = f"""import sys
sys.path.insert(0, {str(package.parent)!r})
%multiproc preload slowlearn"""
    notebook = begin(
        light_page, lab, lab_folder, "waiting", [ahead, "%%multiproc 4\nimport slowlearn\nrank", "results"]
    )
    light_page.wait_for_selector(f"{PANEL} .nbl-words >> text=getting ready: importing slowlearn")
    light_page.locator(PANEL).screenshot(path=pictures / "getting-ready.png")
    gate.touch()
    light_page.wait_for_selector("text={0: 0, 1: 1, 2: 2, 3: 3}")
    light_page.wait_for_function(IDLE)
    assert "✓ %%multiproc 4" in light_page.inner_text(".jp-Notebook")
    assert "getting ready" not in light_page.inner_text(".jp-Notebook")
    save(light_page)
    output, values = _outputs(lab_folder, notebook, 2)
    assert set(output["data"]) == {"text/html", "text/plain"}
    assert set(values["data"]) == {"text/plain"}


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
    page.set_viewport_size({"width": 1280, "height": 1150})
    begin(page, lab, lab_folder, "training", [TRAINING.replace("GATE", repr(str(gate)))])
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
    begin(page, lab, lab_folder, "stop", [cell])
    page.wait_for_selector(f"{PANEL} >> text=begun")
    page.click(f"{PANEL} .nbl-stop")
    page.wait_for_selector("text=KeyboardInterrupt: 4 of 4 ranks interrupted")
    page.wait_for_function(IDLE)
    shown = page.inner_text(".jp-Notebook")
    assert "[0-3] tidied up" in shown
    page.screenshot(path=pictures / f"stopped-{page.theme}.png")


def test_where_every_rank_is_while_the_cell_blocks(page: Any, lab: str, lab_folder: Path, pictures: Path) -> None:
    cell = """%%multiproc 4
def all_reduce():
    threading.Event().wait()
print("begun")
if rank == 2:
    exec(compile("threading.Event().wait()", "<img src=x onerror='window.hacked=1'>", "exec"))
else:
    all_reduce()"""
    begin(page, lab, lab_folder, "stacks", [cell])
    page.wait_for_function(f"document.querySelector('{PANEL}')?.innerText.match(/begun/g)?.length >= 4")
    page.click(f"{PANEL} .nbl-ask")
    page.wait_for_selector(
        f"{PANEL} .nbl-stackslines >> text=ranks 0-1, 3: waiting in wait, Cell In[2], line 3, in all_reduce"
    )
    shown = page.inner_text(f"{PANEL} .nbl-stackslines")
    assert "\n    Cell In[2], line 8\n" in shown
    assert "\nrank 2: " in shown
    assert "<img src=x onerror='window.hacked=1'>" in shown
    assert page.evaluate("window.hacked") is None
    page.screenshot(path=pictures / f"stacks-{page.theme}.png")
    page.keyboard.press("Escape")
    page.wait_for_selector(f"{PANEL} .nbl-stacks", state="hidden")
    page.click(f"{PANEL} .nbl-stop")
    page.wait_for_selector("text=KeyboardInterrupt: 4 of 4 ranks interrupted")
    page.wait_for_function(IDLE)
    assert page.locator(".nbl-ask").count() == 0


def test_a_second_click_kills(page: Any, lab: str, lab_folder: Path) -> None:
    cell = """%%multiproc 2 --grace 9999
import signal
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: print("deaf", flush=True))
print("begun")
while True:
    threading.Event().wait(1)"""
    begin(page, lab, lab_folder, "kill", [cell])
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
    begin(page, lab, lab_folder, "cause", [cell])
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
    begin(page, lab, lab_folder, "map", [cell])
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
    notebook = begin(page, lab, lab_folder, "evil", [EVIL.replace("GATE", repr(str(gate)))])
    page.wait_for_selector(f"{PANEL} >> text=the end")
    for mode in ("Merged", "Folded"):
        page.click(f"{PANEL} >> text={mode}")
        page.wait_for_selector(f"{PANEL} >> text=the end")
    gate.touch()
    page.wait_for_selector("text=RanksFailed: 2 of 2 ranks failed")
    page.wait_for_function(IDLE)
    assert page.evaluate("window.hacked") is None
    save(page)
    # another person opens it: nothing is trusted, and the record is there
    text = (lab_folder / notebook).read_text()
    (lab_folder / f"copy-{notebook}").write_text(text.replace("the end", "the  end"))
    open_notebook(page, lab, f"copy-{notebook}")
    page.wait_for_selector("text=2 of 2 ranks failed >> nth=0")
    page.wait_for_selector("text=✕ failed >> nth=0")
    assert page.evaluate("window.hacked") is None


COUNT_STATUS = """() => {
    window.statuses = [];
    const { sessionContext } = window.jupyterapp.shell.currentWidget;
    sessionContext.statusChanged.connect((_, status) => window.statuses.push(status));
}"""


def test_the_kernel_counts_as_busy_while_the_cell_runs(
    light_page: Any, lab: str, lab_folder: Path, gate: Path, tmp_path: Path
) -> None:
    cell = f"""%%multiproc 2
print("begun")
wait({str(tmp_path / "written")!r})
for number in range(30_000):
    print(number, "x" * 100)
print("the end")
wait({str(gate)!r})"""
    begin(light_page, lab, lab_folder, "status", [cell])
    light_page.wait_for_selector(f"{PANEL} >> text=begun")
    light_page.evaluate(COUNT_STATUS)
    (tmp_path / "written").touch()
    light_page.wait_for_function(f"document.querySelector('{PANEL}').innerText.match(/the end/g)?.length === 2")
    # the next view is asked for, which is a message too, and its answer is the sign that it has been taken
    light_page.click(f"{PANEL} >> text=Merged")
    light_page.wait_for_selector(f"{PANEL} >> text=/. the end/")
    light_page.wait_for_function("window.statuses.at(-1) === 'busy'")
    statuses = light_page.evaluate("window.statuses")
    # one "idle" for each message of the page, which are few, and "busy" again at once
    assert statuses == ["idle", "busy"] * (len(statuses) // 2)
    assert len(statuses) < 60
    gate.touch()
    light_page.wait_for_function(IDLE)
    light_page.wait_for_selector(PANEL, state="detached")
    assert light_page.evaluate("window.statuses.at(-1)") == "idle"


def test_256_ranks(light_page: Any, lab: str, lab_folder: Path, pictures: Path) -> None:
    cell = """%%multiproc 256 --grace 60
try:
    print("rank", rank, "is here")
    threading.Event().wait(9999)
finally:
    print("tidied up")"""
    light_page.set_viewport_size({"width": 1400, "height": 1000})
    light_page.set_default_timeout(100_000)
    begin(light_page, lab, lab_folder, "large", [cell])
    light_page.wait_for_selector(f"{PANEL} >> text=256 running")
    assert light_page.locator(f"{PANEL} .nbl-tile").count() == 256
    light_page.focus(f"{PANEL} .nbl-tile[tabindex='0']")
    light_page.keyboard.press("End")
    light_page.keyboard.press("ArrowLeft")
    light_page.keyboard.press("Enter")
    light_page.wait_for_selector(f"{PANEL} section[aria-label='rank 254'] >> text=rank 254 is here")
    light_page.screenshot(path=pictures / "large.png")
    light_page.click(f"{PANEL} .nbl-stop")
    light_page.wait_for_selector("text=KeyboardInterrupt: 256 of 256 ranks interrupted")
    light_page.wait_for_function(IDLE)
    assert "[0-255] tidied up" in light_page.inner_text(".jp-Notebook")
