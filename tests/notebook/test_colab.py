"""With the versions that Google Colab has, in an environment of their own (``make colab``)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from tests.kernel import Kernel

ROOT = Path(__file__).parents[2]
PINS = dict(
    line.split("==") for line in (ROOT / "tests" / "colab.txt").read_text().splitlines() if not line.startswith("#")
)


def _here() -> dict[str, str]:
    found = {}
    for name in PINS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found


def _pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr


pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(_here()["ipython"] != PINS["ipython"], reason="'make colab' makes the environment of these"),
]


def test_the_environment_is_that_of_google_colab() -> None:
    assert _here() == PINS
    assert sys.version_info[:2] == (3, 13)


def test_installing_the_wheel_changes_nothing(tmp_path: Path) -> None:
    _pip("wheel", "--no-deps", "--wheel-dir", tmp_path, ROOT)
    (wheel,) = tmp_path.glob("nblaunch-*.whl")
    report = tmp_path / "report.json"
    # not --force-reinstall, which would be for all that it needs too
    _pip("install", "--dry-run", "--report", report, wheel)
    installed = [item["metadata"]["name"] for item in json.loads(report.read_text())["install"]]
    assert set(installed) <= {"nblaunch"}


@pytest.fixture(scope="module")
def notebook() -> Iterator[Kernel]:
    """A kernel that shows panels, and in which Google Colab's own package is there as far as a panel meets it."""
    with Kernel(panel="live") as kernel:
        (kernel.place / "work" / "google").mkdir()
        (kernel.place / "work" / "google" / "colab").mkdir()
        (kernel.place / "work" / "google" / "colab" / "output.py").write_text(
            "class _widgets:\n    _installed_url = None\n\n"
            "def enable_custom_widget_manager():\n    _widgets._installed_url = 'https://example.org/manager.js'\n"
        )
        kernel.run("%load_ext nblaunch\nimport threading, pathlib, google.colab.output").ok()
        kernel.run("%%multiproc 2\n0").ok()
        yield kernel


def test_a_widget_is_shown_as_google_colab_wants_it(notebook: Kernel) -> None:
    for count in range(2):
        gate = notebook.place / "tmp" / f"gate{count}"
        running = notebook.begin(
            f"%%multiproc 2\nprint('begun')\nwhile not pathlib.Path({str(gate)!r}).exists():\n"
            "    threading.Event().wait(0.01)"
        )
        notebook.pump(lambda running=running: bool(running.outputs), "the widget")  # type: ignore[misc]
        # in each output: what turns such widgets on is heard only by the thread that has made the first one
        assert running.outputs[0]["metadata"] == {
            "application/vnd.jupyter.widget-view+json": {
                "colab": {"custom_widget_manager": {"url": "https://example.org/manager.js"}}
            }
        }
        gate.touch()
        reply = running.finish().ok()
        # nobody has answered
        assert reply.outputs[-1]["msg_type"] == "display_data"
        assert reply.outputs[-1]["data"]["text/plain"].splitlines()[1:] == ["[0-1] begun"]


def test_tracebacks_name_cells(notebook: Kernel) -> None:
    defined = notebook.run("def helper(n):\n    return 1 / n").ok()
    reply = notebook.run("%%multiproc 2\nzero = 0\nif rank == 0:\n    helper(zero)")
    assert f"Cell In[{reply.count}], line 4\n" in reply.traceback
    assert f"Cell In[{defined.count}], line 2, in helper(n)\n" in reply.traceback
    # of two that read alike, the last
    again = notebook.run("def helper(n):\n    return 1 / n").ok()
    reply = notebook.run("%%multiproc 1\nhelper(0)")
    assert f"Cell In[{again.count}], line 2, in helper(n)\n" in reply.traceback


def test_notes_of_an_exception_are_shown(notebook: Kernel) -> None:
    reply = notebook.run("%%multiproc 1\nerror = ValueError('x')\nerror.add_note('and why')\nraise error")
    assert reply.traceback.endswith("ValueError: x\nand why")


def test_the_doctor_says_what_is_missing(notebook: Kernel) -> None:
    said = notebook.run("%multiproc doctor").ok().stdout
    assert "IPython 7.34.0, ipywidgets 7.7.1" in said
    assert "Google Colab's pages are not heard while a cell runs, and lose binary buffers" in said
    assert "this IPython keeps no table of its cells" in said


def test_a_rank_that_raises_is_looked_at_in_the_input_box(notebook: Kernel) -> None:
    cell = notebook.begin("%%multiproc 2 --pdb\nx = rank + 40\nif rank:\n    1 / 0", allow_stdin=True)
    assert cell.asked() == "rank 1 ipdb> "
    assert "----> 4" in cell.streams["stdout"]
    cell.enter("p x")
    assert cell.asked() == "rank 1 ipdb> "
    cell.wait_for("\n41\n")
    reply = cell.enter("q").finish()
    assert reply.ename == "RanksFailed"
    assert "41" not in reply.outputs[-1]["data"]["text/plain"], "what the debugger says is not the rank's output"
