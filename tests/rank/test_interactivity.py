"""Libraries take a rank for a script, not for a notebook."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from nblaunch.launching.session import launch
from nblaunch.launching.source import Notebook
from nblaunch.rank.interactivity import hide_interactivity

PROMPTS = "import sys\n[name for name in ('ps1', 'ps2', 'ps3') if hasattr(sys, name)]"


@pytest.mark.parametrize("start_method", ["zygote", "forkserver", "spawn", "fork"])
def test_there_are_no_prompts(monkeypatch: pytest.MonkeyPatch, start_method: str) -> None:
    for name in ("ps1", "ps2", "ps3"):
        monkeypatch.setattr(sys, name, ">>> ", raising=False)
    cell = launch(PROMPTS, 1, notebook=Notebook({}), panel="none", start_method=start_method)
    function = launch(lambda: hasattr(sys, "ps1"), 1, panel="none", start_method=start_method)
    assert (cell.results, function.results) == ({0: []}, {0: False})
    assert hasattr(sys, "ps1")


def test_a_fork_of_an_interpreter_that_was_asked_to_stay(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\nfrom nblaunch import launch\n"
        "def flags(): return sys.flags.interactive, sys.flags.inspect, sys.flags[:3], sys.flags.utf8_mode\n"
        "print(flags(), launch(flags, 1, start_method='fork', panel='none').results[0])\n"
    )
    ended = subprocess.run(
        [sys.executable, "-i", str(program)], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    mode = sys.flags.utf8_mode
    assert ended.stdout.strip() == f"(1, 1, (0, 1, 1), {mode}) (0, 0, (0, 0, 0), {mode})", ended.stderr


def test_what_libraries_have_found_out_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    def module(name: str, **content: object) -> ModuleType:
        made = ModuleType(name)
        vars(made).update(content)
        monkeypatch.setitem(sys.modules, name, made)
        return made

    connector = module("pytorch_lightning.connector", _IS_INTERACTIVE=True)
    other = module("mine", _IS_INTERACTIVE=True)
    trainer = module("transformers.trainer", ProgressCallback=int, DEFAULT_PROGRESS_CALLBACK=str)
    rich = module("rich", _console=object())
    module("huggingface_hub.utils._runtime")
    for prompt in ("ps1", "ps2", "ps3"):
        monkeypatch.delattr(sys, prompt, raising=False)  # which a shell of an earlier test has left
    hide_interactivity()
    assert vars(connector)["_IS_INTERACTIVE"]  # nobody types here
    monkeypatch.setitem(vars(sys), "ps1", ">>> ")
    hide_interactivity()
    assert not hasattr(sys, "ps1")
    assert not vars(connector)["_IS_INTERACTIVE"]
    assert vars(other)["_IS_INTERACTIVE"]
    assert vars(trainer)["DEFAULT_PROGRESS_CALLBACK"] is int
    assert vars(rich)["_console"] is None
