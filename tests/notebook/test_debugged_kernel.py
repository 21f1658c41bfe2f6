"""A kernel, and a program, in which a debugger is on: it follows what Python starts, and must not follow ranks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.notebook.test_ipykernels import PanelKernel

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(180)]
pytest.importorskip("debugpy")


def debug(kernel: PanelKernel, number: int, command: str, arguments: dict[str, Any]) -> None:
    content = {"type": "request", "seq": number, "command": command, "arguments": arguments}
    reply = kernel.ask("debug_request", content)
    assert reply["success"], reply


@pytest.fixture
def notebook() -> Iterator[PanelKernel]:
    """A kernel whose debugger was switched on, as JupyterLab does it, before its first cell."""
    with PanelKernel(None) as kernel:
        debug(kernel, 1, "initialize", {"clientID": "jupyterlab", "adapterID": "python", "pathFormat": "path"})
        debug(kernel, 2, "attach", {"justMyCode": False})
        yield kernel


@pytest.mark.parametrize("method", ["zygote", "forkserver", "spawn", "fork"])
def test_ranks_run_in_a_kernel_that_is_debugged(notebook: PanelKernel, method: str) -> None:
    notebook.run("%load_ext nblaunch").ok()
    assert notebook.value("'_pydev_bundle.pydev_monkey' in __import__('sys').modules")
    cell = f"%%multiproc 2 --no-panel --timeout 60 --start-method {method}\nprint('hello')\nrank + 1"
    for _ in range(2):
        notebook.run(cell).ok()
        assert notebook.value("results") == {0: 1, 1: 2}


PROGRAM = """
import nblaunch

def work():
    return 7

if __name__ == "__main__":
    for method in ("zygote", "forkserver", "spawn", "fork"):
        print(nblaunch.launch(work, 2, start_method=method, timeout=60).results)
"""


def test_ranks_run_in_a_program_that_is_debugged(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    # as an editor's "debug this file" starts it; nobody attaches
    command = [sys.executable, "-W", "ignore", "-m", "debugpy", "--listen", "127.0.0.1:0", "program.py"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.stdout == "{0: 7, 1: 7}\n" * 4, done.stderr
