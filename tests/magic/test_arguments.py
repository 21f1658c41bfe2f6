"""What is configured holds where the line says nothing, and the line can take back all of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from nblaunch.launching.option_table import OPTIONS, Option
from nblaunch.launching.options import Options
from nblaunch.magic import arguments
from nblaunch.magic.multiproc import Multiproc


@pytest.fixture(scope="module")
def shell() -> Iterator[InteractiveShell]:
    yield InteractiveShell()
    InteractiveShell.clear_instance()


@pytest.fixture
def magics(shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch) -> Iterator[Multiproc]:
    monkeypatch.delenv("NBLAUNCH_PANEL", raising=False)
    made = Multiproc(shell)
    yield made
    shell.configurables.remove(made)


def _chosen(magics: Multiproc, line: str) -> dict[str, Any]:
    said = arguments.parse(magics.multiproc.parser, line.split())
    return {**arguments.configured(magics), **said}


# What is configured; the lines that take it back; what holds then.
TAKEN_BACK: dict[str, tuple[object, list[str], object]] = {
    "nprocs": (3, ["2"], 2),
    "timeout": (600.0, ["--timeout none"], None),
    "grace": (60.0, ["--grace none", "--grace 0"], 0),
    "stall": (5.0, ["--stall none", "--stall 0"], 0),
    "straggler": (5.0, ["--straggler none", "--straggler 0"], 0),
    "max_restarts": (3, ["--max-restarts none", "--max-restarts 0"], 0),
    "on_failure": ("continue", ["--on-failure stop"], "stop"),
    "panel": ("none", ["--panel live"], "live"),
    "start_method": ("spawn", ["--start-method zygote"], "zygote"),
    "log_dir": ("logs", ["--log-dir none"], None),
    "max_log": ("100K", ["--max-log none", "--max-log 0"], 0),
    "threads": (2, ["--threads none"], None),
    "size_notice": (1.0, ["--size-notice none", "--size-notice 0", "--size-notice 0e9"], 0),
    "show_values": (False, ["--show"], True),
    "quiet": (True, ["--no-quiet", "--quiet --no-quiet"], False),
    "pdb": (True, ["--no-pdb"], False),
    "hold": (5.0, ["--hold 600"], 600),
    "settings": (False, ["--settings"], True),
    "no_raise": (True, ["--raise"], False),
}
BOTH = [option for option in OPTIONS if option.is_configurable and option.line]


def test_all_that_can_be_configured_and_is_of_a_cell_can_be_taken_back() -> None:
    assert {option.name for option in BOTH} == set(TAKEN_BACK)
    # of the notebook, not of a cell
    assert {option.name for option in OPTIONS if option.is_configurable and not option.line} == {
        "keep_killed", "preload", "spares", "spare_seconds",
    }  # fmt: skip


@pytest.mark.parametrize("option", BOTH, ids=lambda option: option.name)
def test_the_line_takes_back_what_is_configured(magics: Multiproc, option: Option) -> None:
    configured, lines, then = TAKEN_BACK[option.name]
    setattr(magics, option.name, configured)
    assert _chosen(magics, "")[option.name] == configured
    for line in lines:
        chosen = _chosen(magics, line)
        assert chosen[option.name] == then, line
        if option.goes_to == "Options":
            assert getattr(Options.of(chosen), option.name) == then


@pytest.mark.parametrize("option", [each for each in BOTH if each.opposite], ids=lambda option: option.name)
def test_the_last_flag_holds(magics: Multiproc, option: Option) -> None:
    assert _chosen(magics, f"{option.opposite} {option.line}")[option.name] is option.sets
    assert _chosen(magics, f"{option.line} {option.opposite}")[option.name] is not option.sets


def test_what_nobody_has_configured_is_the_default(magics: Multiproc) -> None:
    chosen = _chosen(magics, "")
    # a cell shows its values, and a call of `launch` does not
    assert Options.of(chosen) == Options(show_values=True)
    assert (chosen["nprocs"], chosen["no_raise"]) == (None, False)


def test_no_panel_is_short_for_none(magics: Multiproc) -> None:
    assert arguments.parse(magics.multiproc.parser, ["--no-panel"]) == {"panel": "none"}
    magics.panel = "text"
    assert Options.of(_chosen(magics, "")).panel == "text"
    assert Options.of(_chosen(magics, "--no-panel")).panel == "none"


def test_the_line_says_only_what_stands_there(magics: Multiproc) -> None:
    assert arguments.parse(magics.multiproc.parser, []) == {}
    line = "4 --env A=b --env C=d --collect a,b --no-wait --locals"
    assert arguments.parse(magics.multiproc.parser, line.split()) == {
        "nprocs": 4,
        "env": [("A", "b"), ("C", "d")],
        "collect": ["a", "b"],
        "wait": False,
        "show_locals": True,
    }


def test_every_option_is_in_the_help(magics: Multiproc) -> None:
    shown = " ".join((magics.multiproc.__doc__ or "").split())
    for option in OPTIONS:
        for flag in (option.line, option.opposite, option.off_line):
            assert flag in shown
        if option.line:
            assert (option.line_help or option.help)[:-1] in shown
    settings = " ".join(Multiproc.class_get_help(magics).split())
    for option in OPTIONS:
        if option.is_configurable:
            assert f"Multiproc.{option.name}=" in settings
            assert option.help[:-1] in settings
