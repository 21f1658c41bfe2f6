"""Voila: its server runs the notebook and then shows a page of the outputs, in which people click on widgets."""

from __future__ import annotations

import importlib.util
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import PANEL, WAIT, write_notebook

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(120),
    pytest.mark.skipif(importlib.util.find_spec("voila") is None, reason="voila is not installed"),
]

WRITES = """%%multiproc 2
import matplotlib.pyplot as plt, sys
print("out of", rank)
print("err of", rank, file=sys.stderr)
plt.plot([1, 2])
plt.show()
threading.Event().wait(1.2)
print("the end")"""
FAILS = """%%multiproc 2
threading.Event().wait(1.2)
if rank == 1:
    raise ValueError("no data on this rank")"""
BUTTON = """import ipywidgets, nblaunch
from IPython.display import display
button, shown = ipywidgets.Button(description="Go"), ipywidgets.Output()
def work():
    print("clicked")
    wait(GATE)
    print("last words")
def go(_):
    with shown:
        nblaunch.launch(work, 2)
button.on_click(go)
display(button, shown)"""


@contextmanager
def _served(folder: Path, cells: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Have Voila serve a notebook of these cells; give its address, and what its server has logged."""
    write_notebook(folder, "app.ipynb", ["%load_ext nblaunch" + WAIT, *cells])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = os.environ | {f"JUPYTER_{kind}_DIR": str(folder / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    env |= {"IPYTHONDIR": str(folder / "ipython"), "JUPYTER_PLATFORM_DIRS": "1"}
    command = [
        *(sys.executable, "-W", "ignore", "-m", "voila", "--no-browser", f"--port={port}"),
        # what failed is not told of by default
        *("--Voila.ip=127.0.0.1", "--show_tracebacks=True", str(folder / "app.ipynb")),
    ]
    logged: list[str] = []
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        for line in server.stderr:
            logged.append(line)
            if f":{port}/" in line:
                break
        rest = threading.Thread(target=lambda: logged.extend(server.stderr or ()))
        rest.start()
        try:
            yield f"http://127.0.0.1:{port}/", logged
        finally:
            server.terminate()
            server.wait(30)
            rest.join()


def _open(page: Any, address: str) -> None:
    # its page asks other hosts for fonts, which are not there
    page.route(lambda url: re.match(r"https?://(?!127\.0\.0\.1)", url) is not None, lambda route: route.abort())
    page.goto(address, wait_until="commit")


def _warnings(logged: list[str]) -> list[str]:
    return [line for line in logged if "nblaunch" in line or "not allowed" in line]


def test_what_ranks_write_and_show(light_page: Any, tmp_path: Path, pictures: Path) -> None:
    with _served(tmp_path, [WRITES]) as (address, logged):
        _open(light_page, address)
        light_page.wait_for_selector("text=/finished in/")
        shown = light_page.inner_text("body")
        for text in ("out of 0", "! err of 1", "the end"):
            assert text in shown
        light_page.wait_for_selector("img[src^='data:image/png']")
        light_page.screenshot(path=pictures / "voila.png")
    assert _warnings(logged) == []


def test_what_ranks_fail_of(light_page: Any, tmp_path: Path, pictures: Path) -> None:
    with _served(tmp_path, [FAILS]) as (address, _):
        _open(light_page, address)
        light_page.wait_for_selector("text=ValueError: no data on this rank >> nth=0")
        light_page.screenshot(path=pictures / "voila-failed.png")


def test_a_run_that_a_click_begins(light_page: Any, tmp_path: Path, pictures: Path) -> None:
    gate = tmp_path / "gate"
    cell = BUTTON.replace("GATE", repr(str(gate)))
    with _served(tmp_path, [cell]) as (address, logged):
        _open(light_page, address)
        light_page.click("button >> text=Go")
        light_page.wait_for_selector(f"{PANEL} >> text=clicked >> nth=0")
        light_page.wait_for_selector(f"{PANEL}[data-state='running']")
        light_page.screenshot(path=pictures / "voila-clicked.png")
        # Voila's server lets no message past the kernel's main thread, which waits for the ranks
        assert not light_page.is_visible(f"{PANEL} .nbl-stop")
        gate.touch()
        light_page.wait_for_selector("text=/finished in/")
        assert "last words" in light_page.inner_text("body")
        light_page.wait_for_selector(PANEL, state="detached")
        assert light_page.inner_text("body").count("launch(work") == 1
    assert _warnings(logged) == []
