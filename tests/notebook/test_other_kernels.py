"""Kernels that are not ipykernel, and marimo: each from a folder of its own (``make``), put before the rest."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.connect import write_connection_file
from jupyter_core.utils import ensure_event_loop

from tests.notebook.test_executing_programs import RUN

pytestmark = [pytest.mark.notebook, pytest.mark.timeout(120)]

BESIDE = Path(sys.prefix) / "frontends"
MODULES = {"spyder": "spyder_kernels.console", "xeus": "xpython_launcher"}
FAILING = "%%multiproc 2\nimport time\ntime.sleep(1.1)\n1 / rank"
MARIMO = '''import marimo

app = marimo.App()


@app.cell
def _():
    import nblaunch

    run = nblaunch.launch("""import sys, time
print("to stdout of", rank)
print("to stderr of", rank, file=sys.stderr)
time.sleep(1.2)
import matplotlib.pyplot as plt
plt.plot([0, rank + 1])
plt.show()
print("the last word")
rank + 100""", 2)
    return (nblaunch, run)


@app.cell
def _(run):
    # marimo changes what it is given to show
    run.outputs[1][0]
    return


@app.cell
def _(nblaunch, run):
    assert run.ok
    import threading

    cell = """display({"text/html": f"<b>of rank {rank}, for which nobody waits</b>"}, raw=True)"""
    alone = nblaunch.launch(cell, 2, wait=False)
    return (alone, threading)


@app.cell
def _(alone, threading):
    alone.wait()
    for thread in threading.enumerate():
        if thread.name == "nblaunch-outputs":
            thread.join()
    return


@app.cell
def _(nblaunch):
    nblaunch.launch("1 / rank", 2).raise_for_failures()
    return
'''


def environment(name: str, place: Path) -> dict[str, str]:
    folder = BESIDE / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: make {sys.prefix}/.frontends installs it")
    paths = [str(folder), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    own = {
        "IPYTHONDIR": str(place / "ipython"),
        "TMPDIR": str(place),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "NBLAUNCH"))} | own


class OtherKernel:
    """A kernel of another make, and what it publishes."""

    def __init__(self, name: str, place: Path) -> None:
        file = str(place / "connection.json")
        write_connection_file(file, key=b"a key of the test's", ip="127.0.0.1")
        command = [sys.executable, "-m", MODULES[name], "-f", file]
        self.process = subprocess.Popen(
            command, env=environment(name, place), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.client = BlockingKernelClient(connection_file=file)
        self.client.load_connection_file()
        self.client.start_channels()
        self.asked: list[dict[str, Any]] = []

    def wait_until_ready(self) -> None:
        """Wait until it answers; the client takes one that does not answer yet for a dead one."""
        while self.process.poll() is None:
            with contextlib.suppress(RuntimeError):
                self.client.wait_for_ready(timeout=60)
                return
        raise AssertionError(f"the kernel has ended with {self.process.returncode}")

    def run(self, code: str, answer: str | None = None) -> str:
        """Run a cell and return the plain text of all that came back."""
        found: list[str] = []

        def published(message: dict[str, Any]) -> None:
            content = message["content"]
            kind = message["header"]["msg_type"]
            if kind == "stream":
                found.append(content["text"])
            elif kind == "error":
                found.append("\n".join(content["traceback"]))
            elif "display" in kind or kind == "execute_result":
                found.extend([content["data"].get("text/plain", ""), *(sorted(content["data"]))])

        def asked(message: dict[str, Any]) -> None:
            self.asked.append(message["content"])
            self.client.input(str(answer))

        self.client.execute_interactive(
            code, timeout=60, output_hook=published, allow_stdin=answer is not None, stdin_hook=asked
        )
        return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(found))

    def close(self) -> None:
        self.client.stop_channels()
        self.client.context.destroy()
        ensure_event_loop().close()  # which the client has made
        self.process.kill()
        self.process.wait()


@pytest.fixture(params=sorted(MODULES))
def kernel(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OtherKernel]:
    environment(request.param, tmp_path)
    made = OtherKernel(request.param, tmp_path)
    try:
        made.wait_until_ready()
        made.run("%load_ext nblaunch")
        yield made
    finally:
        made.close()


def test_everything_reaches_the_reader(kernel: OtherKernel) -> None:
    kernel.run("%matplotlib inline")
    text = kernel.run(RUN)
    for part in ("to stdout of 0", "to stdout of 1", "to stderr", "the last word", "image/png", "rank 1: 101"):
        assert part in text, f"{part}: {text}"
    text = kernel.run(FAILING)
    assert "RanksFailed: 1 of 2 ranks failed" in text
    assert "----> 4 1 / rank" in text


def test_a_rank_asks_in_the_input_box(kernel: OtherKernel) -> None:
    assert "'Ada'" in kernel.run("%%multiproc 1\ninput('name? ')", answer="Ada")
    assert "'hidden'" in kernel.run("%%multiproc 1\nimport getpass\ngetpass.getpass()", answer="hidden")
    assert [(question["prompt"], question["password"]) for question in kernel.asked] == [
        ("rank 0: name? ", False),
        ("rank 0: Password: ", True),
    ]
    assert "----> 3 7" in kernel.run("%%multiproc 1\nbreakpoint()\n7", answer="c")
    # no traceback of the launcher's own where nobody can answer
    text = kernel.run("%%multiproc 1\ninput('name? ')")
    assert "EOFError" in text
    assert "input_box.py" not in text
    assert "obody can answer" in text


def test_marimo_exports_what_ranks_write_and_fail_of(tmp_path: Path) -> None:
    (tmp_path / "runs.py").write_text(MARIMO)
    done = subprocess.run(
        [sys.executable, "-m", "marimo", "export", "ipynb", "runs.py", "--include-outputs", "-o", "runs.ipynb"],
        cwd=tmp_path,
        env=environment("marimo", tmp_path),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    text = (tmp_path / "runs.ipynb").read_text()
    for part in ("to stdout of 0", "to stdout of 1", "to stderr of 0", "the last word", "RanksFailed", "1 / rank"):
        assert part in text, f"{part}: {done.stderr}"
    # of the outputs, not of the cells' source alone
    assert "[1] to stdout of 1" in text
    # the figures of both ranks, below the cell that launched
    outputs = [output for cell in json.loads(text)["cells"] for output in cell.get("outputs", [])]
    shown = ["".join(output["data"]["text/html"]) for output in outputs if "rank 1" in str(output.get("data"))]
    assert shown[0].count("data:image/png;base64,") == 2
    assert "----> 1 1 / rank" in text
    # those of a run that its cell does not wait for
    (cell,) = [cell for cell in json.loads(text)["cells"] if "wait=False" in "".join(cell["source"])]
    html = "".join("".join(output["data"]["text/html"]) for output in cell["outputs"] if "data" in output)
    assert [f"of rank {rank}, for which nobody waits" in html for rank in range(2)] == [True, True]
