"""JupyterLab and Chromium, with the notebook of the panel's figures in them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import psutil

from benchmarks.panel_lab import PATIENCE, READY, Lab

__all__ = ["open_lab"]

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)


@contextlib.contextmanager
def _server(home: Path, notebooks: Path) -> Iterator[tuple[psutil.Process, str]]:
    """Start JupyterLab; give it and the address of the notebook's page."""
    config = home / "config" / "labconfig"
    config.mkdir(parents=True)
    quiet = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    (config / "page_config.json").write_text(json.dumps(quiet))
    environment = {name: value for name, value in os.environ.items() if name != "NBLAUNCH_PANEL"}
    environment |= {f"JUPYTER_{kind}_DIR": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    environment |= {"IPYTHONDIR": str(home / "ipython"), "JUPYTER_PLATFORM_DIRS": "1"}
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", "--port=0", "--allow-root"),
        *("--expose-app-in-browser", f"--ServerApp.root_dir={notebooks}"),
        *("--LabApp.news_url=", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"),
    ]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            address = _address(server.stderr)
            with subprocess.Popen(["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL):
                yield psutil.Process(server.pid), address
                server.terminate()
        finally:
            server.terminate()


def _address(log: IO[str]) -> str:
    seen = []
    for line in log:
        seen.append(line)
        found = re.search(r"(http://127\.0\.0\.1:\d+/lab)\?token=(\w+)", line)
        if found:
            return f"{found[1]}/tree/panel.ipynb?reset&token={found[2]}"
    raise RuntimeError(f"JupyterLab did not start:\n{''.join(seen)}")


@contextlib.contextmanager
def open_lab() -> Iterator[tuple[Lab, str]]:
    """Open the notebook; give it and the version of the browser."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("no Chromium on this machine: the panel cannot be measured without one ('make browser')")
    cell: dict[str, Any] = {
        "cell_type": "code",
        "id": "cell",
        "metadata": {},
        "outputs": [],
        "execution_count": None,
        "source": "",
    }
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}, "cells": [cell]}
    with tempfile.TemporaryDirectory(prefix="panel_") as name:
        home = Path(name)
        (home / "notebooks").mkdir()
        (home / "notebooks" / "panel.ipynb").write_text(json.dumps(notebook))
        with _server(home, home / "notebooks") as (server, address), sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
            page = browser.new_page(viewport={"width": 1100, "height": 900})
            page.set_default_timeout(1e3 * PATIENCE)
            page.goto(address)
            page.wait_for_function(READY)
            page.evaluate("window.jupyterapp.shell.collapseLeft()")
            yield Lab(page, server, home), browser.version
            page.evaluate("window.jupyterapp.serviceManager.sessions.shutdownAll()")
            browser.close()
