"""The example notebooks, executed as ``make demo`` executes them, and the numbers they come to.

Each notebook is copied, gets one more cell that prints the variables to look at, and runs in a clean kernel
in a process of its own, so that nothing of Jupyter's stays behind in the test process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"

pytestmark = [pytest.mark.notebook, pytest.mark.timeout(300)]


def run_executor(notebook: Path, out_dir: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the project's own headless runner; its kernel is one of this interpreter."""
    command: list[str | Path] = [
        sys.executable,
        NOTEBOOKS / "execute.py",
        notebook,
        "--out-dir",
        out_dir,
        *options,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)


def executed_with_probe(name: str, probe: str, tmp_path: Path) -> tuple[str, Any]:
    """Execute a copy of a notebook; return what the runner printed and the value of ``probe`` at its end."""
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(f"print(json.dumps({probe}))"))
    copy = tmp_path / name
    nbformat.write(notebook, copy)

    done = run_executor(copy, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    executed = nbformat.read(tmp_path / "out" / name, as_version=4)
    return done.stdout, json.loads(executed.cells[-1].outputs[-1].text)


def last_json_line(text: str) -> Any:
    return json.loads([line for line in text.splitlines() if line.startswith("{")][-1])


def test_quickstart_finds_good_parameters_and_shows_a_failure(tmp_path: Path) -> None:
    probe = """{
        "accuracy": accuracy,
        "best": best,
        "grid": grid,
        "table": table,
        "kept": bool(np.isfinite(images_train).all()),
        "exception": type(failure.exception).__name__,
        "real": isinstance(failure.exception, ValueError),
        "traceback": failure.traceback,
        "collateral": {rank: failures[rank].collateral for rank in failures},
        "finished": sorted(results),
    }"""
    printed, found = executed_with_probe("quickstart.ipynb", probe, tmp_path)

    assert found["accuracy"] > 0.97
    assert [found["best"]["C"], found["best"]["gamma"]] in found["grid"]
    # every setting once, by the rank whose share it was
    settings = {(C, gamma): rank for rank, C, gamma, _ in found["table"]}
    assert len(settings) == len(found["table"]) == len(found["grid"])
    assert all(settings[C, gamma] == index % 4 for index, (C, gamma) in enumerate(found["grid"]))

    # the failing rank: its own exception came back, and only its own copy of the data was spoilt
    assert found["kept"]
    assert found["real"]
    assert found["exception"] == "ValueError"
    assert "Input X contains NaN" in found["traceback"]
    assert found["collateral"]["2"] is False
    assert sorted([*map(str, found["finished"]), *found["collateral"]]) == ["0", "1", "2", "3"]
    assert all(collateral for rank, collateral in found["collateral"].items() if rank != "2")

    summary = last_json_line(printed)
    assert summary["accuracy"] == round(found["accuracy"], 4)
    assert summary["best"] == found["best"]
    assert summary["ranks"] == 4
    assert "rank 2 failed with ValueError" in printed
    assert f"executed notebook: {tmp_path / 'out' / 'quickstart.ipynb'}" in printed
    assert "Accuracy" not in printed  # the picture is on the page, not in the text
    assert "<img" in (tmp_path / "out" / "quickstart.html").read_text(encoding="utf-8")


@pytest.mark.torch
def test_ddp_on_four_ranks_is_the_training_of_one_process(tmp_path: Path) -> None:
    probe = """{
        "accuracy": accuracy,
        "ranks": sorted(results),
        "ranks_agree": ranks_agree,
        "matches_one_process": matches_one_process,
        "loss_difference": loss_difference,
        "weight_difference": weight_difference,
        "ddp_losses": ddp_losses.tolist(),
        "single_losses": single_losses.tolist(),
        "steps": len(batches),
        "untouched": not np.array_equal(model[0].weight.detach().numpy(), weights["0.weight"]),
    }"""
    printed, found = executed_with_probe("ddp.ipynb", probe, tmp_path)

    assert found["ranks"] == [0, 1, 2, 3]
    assert found["ranks_agree"] is True
    assert found["matches_one_process"] is True
    assert len(found["ddp_losses"]) == len(found["single_losses"]) == found["steps"]
    assert found["ddp_losses"] == pytest.approx(found["single_losses"], abs=1e-3)
    assert found["ddp_losses"][-1] < found["ddp_losses"][0] / 5
    assert found["weight_difference"] < 1e-3
    assert found["untouched"], "the ranks trained the notebook's own model, or did not train at all"
    assert found["accuracy"] > 0.9
    assert last_json_line(printed)["ranks_agree"] is True


def test_executor_keeps_what_a_failing_notebook_did(tmp_path: Path) -> None:
    cells = [nbformat.v4.new_code_cell("print('before')"), nbformat.v4.new_code_cell("1 / 0")]
    notebook = tmp_path / "broken.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), notebook)

    done = run_executor(notebook, tmp_path / "out")

    assert done.returncode == 1
    assert "ZeroDivisionError: division by zero" in done.stderr
    assert "\x1b" not in done.stderr
    executed = nbformat.read(tmp_path / "out" / "broken.ipynb", as_version=4)
    assert executed.cells[0].outputs[0].text == "before\n"
    assert executed.cells[1].outputs[0].ename == "ZeroDivisionError"
    assert (tmp_path / "out" / "broken.html").is_file()


def test_executor_shows_the_last_cell_where_none_is_tagged(tmp_path: Path) -> None:
    cells = [nbformat.v4.new_code_cell("print('first')"), nbformat.v4.new_code_cell("print('second'); 3")]
    notebook = tmp_path / "plain.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), notebook)

    done = run_executor(notebook, tmp_path / "out")

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == ["second", "3"]
    assert "first" not in done.stdout


def test_executor_stops_a_cell_that_takes_too_long(tmp_path: Path) -> None:
    notebook = tmp_path / "slow.ipynb"
    cells = [nbformat.v4.new_code_cell("import threading; threading.Event().wait()")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), notebook)

    done = run_executor(notebook, tmp_path / "out", "--timeout", "1")

    assert done.returncode == 1
    assert "A cell timed out while it was being executed, after 1" in done.stderr


def test_executor_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    missing = run_executor(tmp_path / "none.ipynb", tmp_path / "out")
    assert missing.returncode == 2
    assert f"no notebook at {tmp_path / 'none.ipynb'}: give the path of an existing .ipynb file" in missing.stderr

    notebook = tmp_path / "plain.ipynb"
    nbformat.write(nbformat.v4.new_notebook(), notebook)
    onto_itself = run_executor(notebook, tmp_path)
    assert onto_itself.returncode == 2
    assert "would overwrite the notebook itself: choose another directory" in onto_itself.stderr


def test_of_a_panel_little_stays_in_the_notebook(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook()
    cell = "%%multiproc 2\nimport time\nprint('hello')\ntime.sleep(1)"
    notebook.cells += [nbformat.v4.new_code_cell(source) for source in ("%load_ext nblaunch", cell)]
    nbformat.write(notebook, tmp_path / "panel.ipynb")
    done = run_executor(tmp_path / "panel.ipynb", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "out" / "panel.ipynb").read_text(encoding="utf-8")
    # not the program of the widget, which was there for a second
    assert len(text) < 10_000
    (output,) = json.loads(text)["cells"][1]["outputs"]
    assert set(output["data"]) == {"text/html", "text/plain"}
    assert "".join(output["data"]["text/plain"]).endswith("[0-1] hello")
    for form in ("html", "markdown"):
        command = [sys.executable, "-m", "nbconvert", "--to", form, "--stdout", tmp_path / "out" / "panel.ipynb"]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
        assert "%%multiproc 2</b>" in shown
        assert "hello</pre>" in shown
