"""``%%multiproc --setup``: a cell that runs here and at the beginning of every rank."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel import Kernel

pytestmark = pytest.mark.kernel


def test_a_set_up_cell_runs_here_and_in_every_rank(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "settings_of_mine.py").write_text("LR = 0.1")
    kernel.run(f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport settings_of_mine as cfg\nrate = 0.7").ok()
    kernel.run(
        "%%multiproc --setup\nimport json\ncfg.LR = rate\ncounter = 1\n"
        "def twice(x):\n    return 2 * x\njson.twice = twice"
    ).ok()
    assert kernel.value("(cfg.LR, counter)") == (0.7, 1)
    kernel.run("counter = 5").ok()
    for method in ("zygote", "spawn", "fork"):
        kernel.run(f"%%multiproc 2 --start-method {method}\nimport json\ncfg.LR, json.twice(3), counter").ok()
        # what the notebook has assigned since counts
        assert kernel.value("results") == dict.fromkeys((0, 1), (0.7, 6, 5)), method
    kernel.run("import nblaunch\ndef function(): return cfg.LR").ok()
    assert kernel.value("nblaunch.launch(function, 2).results") == {0: 0.7, 1: 0.7}
    shown = kernel.run("%multiproc setup").ok().stdout
    assert (
        "runs at the beginning of every rank (%multiproc setup clear ends that):\nimport json\ncfg.LR = rate" in shown
    )

    kernel.run("%%multiproc --setup\ncfg.LR = 0.9").ok()
    kernel.run("%%multiproc 1\nimport json\ncfg.LR, hasattr(json, 'twice')").ok()
    assert kernel.value("results") == {0: (0.9, False)}

    assert kernel.run("%multiproc setup clear").ok().stdout == "The set-up cell no longer runs in ranks.\n"
    kernel.run("%%multiproc 1\ncfg.LR").ok()
    assert kernel.value("results") == {0: 0.1}
    assert kernel.run("%multiproc setup").ok().stdout == (
        "There is no set-up cell: one that begins with %%multiproc --setup runs here and in every rank.\n"
    )
    assert kernel.run("%multiproc setup clear").ok().stdout == "There was no set-up cell.\n"
    kernel.run("sys.path.pop(0)\ndel sys.modules['settings_of_mine']\ndel json.twice").ok()


def test_a_set_up_cell_that_fails(kernel: Kernel) -> None:
    reply = kernel.run("%%multiproc --setup\nx = 1\nraise ValueError('here')")
    assert (reply.ename, reply.evalue) == ("ValueError", "here")
    assert kernel.run("%multiproc setup").ok().stdout.startswith("There is no set-up cell")
    assert kernel.run("%%multiproc --setup\ndef (").ename == "SyntaxError"

    kernel.run("import os\nhome = os.getpid()").ok()
    kernel.run("%%multiproc --setup\nif os.getpid() != home:\n    raise ValueError('there')").ok()
    reply = kernel.run("%%multiproc 2\nrank")
    assert "ValueError: there" in reply.traceback
    assert "This happened in the set-up cell, which %multiproc setup shows." in reply.traceback
    assert "----> 3     raise ValueError('there')" in reply.traceback
    kernel.run("%multiproc setup clear").ok()


def test_set_up_stands_alone(kernel: Kernel) -> None:
    for line in ("4 --setup", "--setup --timeout 3", "--setup --quiet"):
        assert kernel.run(f"%%multiproc {line}\n1").evalue == (
            "%%multiproc: --setup stands alone: the cell runs here, and at the beginning of every rank. Nothing was "
            "started."
        )
    assert kernel.run("%multiproc setup now").evalue == (
        "%multiproc setup shows the set-up cell, %multiproc setup clear ends that it runs."
    )
