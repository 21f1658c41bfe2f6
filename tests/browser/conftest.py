"""A real JupyterLab and a real Chromium."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
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


@pytest.fixture(scope="module")
def lab(lab_folder: Path) -> Iterator[str]:
    """Start JupyterLab; give the address of a notebook's page, with a place for its name."""
    home = lab_folder.parent
    config = home / "config" / "labconfig"
    config.mkdir(parents=True)
    # its pop-up would lie over the screenshots
    (config / "page_config.json").write_text(
        json.dumps({"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}})
    )
    env = os.environ | {f"JUPYTER_{kind}_DIR": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    env |= {"IPYTHONDIR": str(home / "ipython"), "JUPYTER_PLATFORM_DIRS": "1"}
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", "--port=0", "--allow-root"),
        *("--expose-app-in-browser", f"--ServerApp.root_dir={lab_folder}"),
        *("--LabApp.news_url=", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"),
    ]
    # -W ignore: the server's own deprecation warnings are not ours to turn into errors
    with subprocess.Popen(
        [command[0], "-W", "ignore", *command[1:]], env=env, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr is not None
        seen = []
        for line in server.stderr:
            seen.append(line)
            found = re.search(r"(http://127\.0\.0\.1:\d+/lab)\?token=(\w+)", line)
            if found:
                break
        else:
            pytest.fail(f"JupyterLab did not start:\n{''.join(seen)}")
        drain = subprocess.Popen(["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL)
        yield f"{found[1]}/tree/{{notebook}}?reset&token={found[2]}"
        server.terminate()
        server.wait(30)
        drain.wait(30)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Start Chromium."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: the browser tests cannot run")
    from playwright.sync_api import sync_playwright

    flags = [
        *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
        *("--disable-component-update", "--disable-sync"),
    ]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        with chromium.new_page() as blank:
            # starts the thread that playwright writes files in, which then stays
            blank.screenshot(path=tmp_path_factory.mktemp("blank") / "blank.png")
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
