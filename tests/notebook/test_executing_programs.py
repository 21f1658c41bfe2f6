"""What ranks write and show, and what they fail of, reaches whoever executes a notebook: no page is there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest

pytestmark = [pytest.mark.notebook, pytest.mark.timeout(240)]

# It takes longer than a run that is over before any panel would be shown.
RUN = """%%multiproc 2
import sys, time
import matplotlib.pyplot as plt
print("to stdout of", rank)
print("to stderr", file=sys.stderr)
plt.plot([rank, 1])
plt.show()
time.sleep(1.2)
print("the last word")
rank + 100"""
FAILING = """%%multiproc 2
print("before it fails")
if rank == 1:
    raise ValueError("boom of 1")"""
WRITTEN = ("to stdout of 0", "to stdout of 1", "to stderr", "the last word", "before it fails")
FAILED = ("RanksFailed", "boom of 1")


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    """A notebook with a run that takes its time, shows a figure, and one that fails."""
    cells = ["%load_ext nblaunch\n%matplotlib inline", RUN, FAILING]
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = tmp_path / "runs.ipynb"
    nbformat.write(made, path)
    return path


def execute(*command: str, place: Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "NBLAUNCH"))}
    return subprocess.run(
        [sys.executable, "-W", "ignore", *command],
        cwd=place,
        env=environment | {"IPYTHONDIR": str(place / "ipython"), "NO_COLOR": "1", "TMPDIR": str(place)},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def outputs(path: Path) -> list[list[dict[str, Any]]]:
    cells = json.loads(path.read_text())["cells"]
    return [cell["outputs"] for cell in cells if cell["cell_type"] == "code"]


def said(path: Path) -> str:
    return plain(json.dumps(outputs(path)))


def plain(text: str) -> str:
    return re.sub(r"(\x1b|\\u001b)\[[0-9;]*m", "", text)


def check_saved(path: Path) -> None:
    """See that a saved notebook has the record, then the figures, and the failure; and nothing of a widget."""
    text = said(path)
    for part in (*WRITTEN, *FAILED):
        assert part in text, part
    run, failing = outputs(path)[1:3]
    kinds = [sorted(output.get("data", {})) for output in run]
    assert kinds[0] == ["text/html", "text/plain"], "the record comes first"
    assert "".join(run[0]["data"]["text/plain"]).startswith("✓ %%multiproc 2")
    assert ["image/png"] in [[kind for kind in kinds_of if kind == "image/png"] for kinds_of in kinds[1:]]
    assert "widget" not in text
    assert failing[-1]["output_type"] == "error"


def nbclient_(path: Path) -> Path:
    done = execute("-m", "jupyter", "execute", "--inplace", "--allow-errors", path.name, place=path.parent)
    assert done.returncode == 0, done.stderr
    return path


def nbconvert_(path: Path) -> Path:
    made = path.with_name("made.ipynb")
    options = ("--to", "notebook", "--execute", "--allow-errors", "--output", made.name)
    done = execute("-m", "nbconvert", *options, path.name, place=path.parent)
    assert done.returncode == 0, done.stderr
    return made


def jupytext_(path: Path) -> Path:
    # it saves what it has executed up to the cell that fails
    done = execute("-m", "jupytext", "--execute", path.name, place=path.parent)
    assert done.returncode != 0
    assert "boom of 1" in plain(done.stderr)
    return path


@pytest.mark.parametrize("program", [nbclient_, nbconvert_], ids=["jupyter execute", "nbconvert"])
def test_a_notebook_that_a_program_saves_has_everything(notebook: Path, program: Callable[[Path], Path]) -> None:
    check_saved(program(notebook))


def test_papermill_saves_it_and_has_it_in_its_log(notebook: Path) -> None:
    made = notebook.with_name("made.ipynb")
    done = execute("-m", "papermill", "--log-output", notebook.name, made.name, place=notebook.parent)
    assert done.returncode != 0
    log = plain(done.stdout + done.stderr)
    for part in (*WRITTEN, *FAILED):
        assert part in log, part
    # papermill puts a cell of its own before the one that failed, and one at the top
    cells = [found for found in outputs(made) if any("multiproc" in json.dumps(output) for output in found)]
    assert "the last word" in json.dumps(cells[0])
    assert "boom of 1" in plain(json.dumps(cells[1]))


def test_nbmake_says_what_ranks_failed_of(notebook: Path) -> None:
    done = execute("-m", "pytest", "--nbmake", "-p", "no:cacheprovider", notebook.name, place=notebook.parent)
    assert done.returncode == 1, done.stdout
    assert "boom of 1" in plain(done.stdout)


def test_jupytext_says_what_ranks_failed_of(notebook: Path) -> None:
    jupytext_(notebook)


def test_a_console_prints_it(notebook: Path) -> None:
    place = notebook.parent
    magics = "\n".join(f"get_ipython().run_cell_magic(*{_split(cell)!r})" for cell in (RUN, FAILING))
    cells = f"%load_ext nblaunch\n{magics}"
    done = execute("-m", "jupyter", "console", "--simple-prompt", place=place, stdin=f"{cells}\nexit\n")
    text = plain(done.stdout + done.stderr)
    for part in (*WRITTEN, *FAILED):
        assert part in text, f"{part}: {text}"


def _split(cell: str) -> tuple[str, str, str]:
    line, _, body = cell.partition("\n")
    name, _, arguments = line.removeprefix("%%").partition(" ")
    return name, arguments, body
