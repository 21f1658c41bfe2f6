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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

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


@pytest.fixture(params=["light", "dark"])
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Open a page in one of Jupyter's themes."""
    context = browser.new_context(viewport={"width": 1100, "height": 900}, color_scheme=request.param)
    page = context.new_page()
    page.set_default_timeout(45_000)
    page.theme = request.param  # type: ignore[attr-defined]
    yield page
    # with the page, a person would leave the kernels behind
    page.evaluate("window.jupyterapp && window.jupyterapp.serviceManager.sessions.shutdownAll()")
    context.close()
