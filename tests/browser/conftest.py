"""A real JupyterLab, a real Notebook 7 and a real Chromium."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
# `make test` puts them there, by their versions
IPYKERNELS = Path(sys.prefix) / "ipykernels"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def pictures() -> Path:
    """The folder that screenshots go to; CI keeps it."""
    folder = Path(__file__).parents[2] / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def lab_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder that JupyterLab shows: a copy of the notebooks."""
    folder = tmp_path_factory.mktemp("lab") / "notebooks"
    shutil.copytree(NOTEBOOKS, folder, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    return folder


@contextmanager
def _served(module: str, home: Path, folder: Path, *options: str) -> Iterator[tuple[str, str]]:
    """Start a Jupyter server whose settings, and record of what is trusted, lie in `home`; give address and token."""
    config = home / "config" / "labconfig"
    config.mkdir(parents=True)
    # its pop-up would lie over the screenshots
    (config / "page_config.json").write_text(
        json.dumps({"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}})
    )
    _name_ipykernels(home / "data" / "kernels")
    env = os.environ | {f"JUPYTER_{kind}_DIR": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    env |= {"IPYTHONDIR": str(home / "ipython"), "JUPYTER_PLATFORM_DIRS": "1"}
    command = [
        # -W ignore: the server's own deprecation warnings are not ours to turn into errors
        *(sys.executable, "-W", "ignore", "-m", module, "--no-browser", "--ip=127.0.0.1", "--port=0", "--allow-root"),
        *("--expose-app-in-browser", f"--ServerApp.root_dir={folder}", *options),
    ]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        seen = []
        for line in server.stderr:
            seen.append(line)
            found = re.search(r"(http://127\.0\.0\.1:\d+)/\w+\?token=(\w+)", line)
            if found:
                break
        else:
            pytest.fail(f"{module} did not start:\n{''.join(seen)}")
        drain = subprocess.Popen(["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL)
        _wait_for_door(server, int(found[1].rpartition(":")[2]))
        yield found[1], found[2]
        server.terminate()
        server.wait(30)
        drain.wait(30)


def _wait_for_door(server: subprocess.Popen[str], port: int) -> None:
    """Wait until somebody listens: the server says its address a moment before."""
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert server.poll() is None, "the server has ended"
            time.sleep(0.02)


def _name_ipykernels(specs: Path) -> None:
    """Have the server offer a kernel of each ipykernel that lies beside the environment's own."""
    for folder in filter(Path.is_dir, IPYKERNELS.glob("*")):
        path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
        spec = {
            "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            "display_name": f"ipykernel {folder.name}",
            "language": "python",
            "env": {"PYTHONPATH": path},
        }
        (specs / f"ipykernel-{folder.name}").mkdir(parents=True)
        (specs / f"ipykernel-{folder.name}" / "kernel.json").write_text(json.dumps(spec))


@pytest.fixture(scope="module")
def lab(lab_folder: Path) -> Iterator[str]:
    """Start JupyterLab; give the address of a notebook's page, with a place for its name."""
    quiet = ("--LabApp.news_url=", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate")
    with _served("jupyterlab", lab_folder.parent, lab_folder, *quiet) as (address, token):
        yield f"{address}/lab/tree/{{notebook}}?reset&token={token}"


@pytest.fixture(scope="module")
def classic(lab_folder: Path) -> Iterator[str]:
    """Start Notebook 7, which shows the same folder and trusts nothing in it; give the address as `lab` does."""
    with _served("notebook", lab_folder.parent / "classic", lab_folder) as (address, token):
        yield f"{address}/notebooks/{{notebook}}?token={token}"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Start Chromium."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: the browser tests cannot run")
    from playwright.sync_api import Error as PlaywrightError
    from playwright.sync_api import sync_playwright

    flags = [
        *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
        *("--disable-component-update", "--disable-sync"),
    ]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        with chromium.new_page() as blank:
            # starts the thread that playwright writes files in, which then stays
            picture = tmp_path_factory.mktemp("blank") / "blank.png"
            for attempt in range(5):
                try:
                    blank.screenshot(path=picture)
                    break
                except PlaywrightError:  # a Chromium that has just started on a busy machine may have no picture yet
                    if attempt == 4:
                        raise
                    blank.reload()
        yield chromium
        chromium.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say what the page showed when a test failed: a picture cannot be read in CI's log."""
    report = yield
    used = getattr(item, "funcargs", {})
    page = used.get("page") or used.get("light_page")
    if report.when == "call" and report.failed and page is not None:
        report.sections.append(("What the page showed", page.inner_text("body")))
    return report


@contextmanager
def _opened(browser: Browser, theme: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1100, "height": 900}, color_scheme=theme)  # type: ignore[arg-type]
    page = context.new_page()
    page.set_default_timeout(45_000)
    page.theme = theme  # type: ignore[attr-defined]
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error.stack)))
    yield page
    shut_down(page)
    context.close()
    # the panel's module comes from a blob; Jupyter's own errors are not ours
    assert [error for error in errors if "blob:" in error] == []


@pytest.fixture(params=["light", "dark"])
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Open a page in each of Jupyter's themes."""
    with _opened(browser, request.param) as page:
        yield page


@pytest.fixture
def light_page(browser: Browser) -> Iterator[Page]:
    """Open a page in one theme, for what does not depend on what it looks like."""
    with _opened(browser, "light") as page:
        yield page


IDLE = """() => {
    const app = window.jupyterapp;
    const panel = app && app.shell.currentWidget;
    return Boolean(panel && panel.sessionContext && panel.sessionContext.session &&
        panel.sessionContext.session.kernel && panel.sessionContext.session.kernel.status === 'idle');
}"""
CONNECTED = """() => {
    const panel = window.jupyterapp && window.jupyterapp.shell.currentWidget;
    return panel?.sessionContext?.session?.kernel?.connectionStatus === 'connected';
}"""
PANEL = ".nbl-panel"
RUN_ALL = "void window.jupyterapp.commands.execute('notebook:run-all-cells')"
WAIT = """
import pathlib, threading
def wait(gate):
    while not pathlib.Path(gate).exists():
        threading.Event().wait(0.05)
"""


def open_notebook(page: Any, address: str, notebook: str) -> None:
    """Open a notebook and wait until its kernel is there."""
    page.goto(address.format(notebook=notebook))
    page.wait_for_function(IDLE)
    theme = f"JupyterLab {page.theme.title()}"
    page.evaluate(f"window.jupyterapp.commands.execute('apputils:change-theme', {{theme: '{theme}'}})")
    page.wait_for_selector(f"body[data-jp-theme-name='{theme}']", state="attached")
    page.evaluate("window.jupyterapp.shell.collapseLeft()")


def write_notebook(folder: Path, name: str, cells: list[str]) -> None:
    """Write a notebook of code cells."""
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


def begin(page: Any, address: str, folder: Path, name: str, cells: list[str]) -> str:
    """Open a new notebook, and run all its cells; its first one loads the extension."""
    notebook = f"{name}-{page.theme}.ipynb"
    write_notebook(folder, notebook, ["%load_ext nblaunch" + WAIT, *cells])
    open_notebook(page, address, notebook)
    page.evaluate(RUN_ALL)
    return notebook


def save(page: Any) -> None:
    """Have the notebook saved."""
    page.evaluate("window.jupyterapp.shell.currentWidget.context.save()")


def shut_down(page: Any) -> None:
    """End the kernels of the server that the page is from; with the page, a person would leave them behind."""
    page.evaluate("window.jupyterapp && window.jupyterapp.serviceManager.sessions.shutdownAll()")


@pytest.fixture
def gate(lab_folder: Path, request: pytest.FixtureRequest) -> Path:
    """A file that the ranks of a test wait for."""
    return lab_folder / re.sub(r"\W+", "-", f"gate-{request.node.name}")
