"""`nblaunch.launching.option_table`: what `launch`, `Options` and the documentation say is what the table says."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

import pytest

import nblaunch
from nblaunch.launching.option_table import OPTIONS, Kind
from nblaunch.launching.options import Options

IN_PYTHON = [option for option in OPTIONS if option.in_python]
CHECKED = [option for option in OPTIONS if option.takes]


def _options_of_launch() -> Mapping[str, inspect.Parameter]:
    parameters = inspect.signature(nblaunch.launch).parameters
    return {name: each for name, each in parameters.items() if each.kind is each.KEYWORD_ONLY}


def _documented() -> dict[str, tuple[str, str]]:
    """Return the type and the description of each parameter by name, in order."""
    (text,) = re.findall(r"Parameters\n-+\n(.*?)\n\nReturns\n", inspect.getdoc(nblaunch.launch) or "", re.DOTALL)
    found = re.findall(r"^(\w+) : (.*)\n((?:    .*\n?)+)", text, re.MULTILINE)
    return {name: (kind, told) for name, kind, told in found}


def test_names_are_there_once() -> None:
    names = [option.name for option in OPTIONS]
    flags = [flag for each in OPTIONS for flag in (each.line, each.opposite, each.off_line) if flag]
    assert len(set(names)) == len(names)
    assert len(set(flags)) == len(flags)
    assert all(each.help.endswith(".") for each in OPTIONS)


def test_launch_takes_what_the_table_says() -> None:
    signature = _options_of_launch()
    assert {option.name: option.default for option in IN_PYTHON} == {
        name: each.default for name, each in signature.items()
    }


def test_launch_documents_what_it_takes() -> None:
    documented = _documented()
    assert [*documented] == [*inspect.signature(nblaunch.launch).parameters]
    for option in IN_PYTHON:
        kind, told = documented[option.name]
        assert told.strip().endswith(".")
        if option.kind is Kind.CHOICE:
            assert re.findall(r'"(\w+)"', kind) == [*option.choices]
        if option.default is None:
            assert kind.endswith(", optional"), option.name
        if option.kind is Kind.FLAG:
            assert kind == "bool", option.name


def test_a_run_has_the_fields_that_the_table_says() -> None:
    of_run = {option.name: option.default for option in OPTIONS if option.goes_to == "Options"}
    assert {each.name for each in fields(Options)} == of_run.keys()
    for each in fields(Options):
        if each.default is not MISSING:
            assert each.default == of_run[each.name]


def test_what_is_not_chosen_has_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NBLAUNCH_PANEL", raising=False)
    everything = {option.name: option.default for option in OPTIONS}
    assert Options.of({}) == Options.of(everything) == Options()
    assert (Options().panel, Options().env, Options().args) == ("live", {}, ())
    monkeypatch.setenv("NBLAUNCH_PANEL", "text")
    assert Options.of({}).panel == Options.of({"panel": None}).panel == "text"


def test_what_was_given_is_made_a_field() -> None:
    options = Options.of(
        {"capture": iter(["a"]), "env": [("A", "b")], "max_log": "2K", "show_ranks": [1, 2], "nprocs": 4, "check": True}
    )
    assert (options.capture, options.env, options.max_log) == (("a",), {"A": "b"}, 2048)
    assert options.show_ranks == frozenset([1, 2])


BAD: dict[str, list[tuple[Any, str]]] = {
    "timeout": [(0, "a number of seconds above 0"), (float("inf"), "a number of seconds above 0")],
    "grace": [(-1, "a number of seconds, 0 or more"), (float("nan"), "a number of seconds, 0 or more")],
    "stall": [(-1, "a number of seconds, 0 for never")],
    "straggler": [(float("inf"), "a number of seconds, 0 for never")],
    "max_restarts": [(value, "a whole number, 0 or more") for value in (-1, True, 1.0)],
    "on_failure": [("never", "'stop' or 'continue'"), (None, "'stop' or 'continue'")],
    "panel": [("loud", "'live', 'text' or 'none'")],
    "max_log": [("much", "a size such as 500M or 2G, or 0 for no limit")],
    "threads": [(0, "a number of threads per rank, at least 1")],
    "size_notice": [(-1, "a number of bytes, 0 for no notice")],
    "hold": [(0, "a number of seconds above 0")],
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_value_is_refused(name: str) -> None:
    for value, takes in BAD[name]:
        with pytest.raises(ValueError, match=f"^{re.escape(f'{name} is {takes}, not {value!r}')}$"):
            Options.of({name: value})


@pytest.mark.parametrize("name", [option.name for option in CHECKED])
def test_a_value_of_another_type_is_refused_in_the_same_words(name: str) -> None:
    (takes,) = {takes for _, takes in BAD[name]}
    values: tuple[Any, ...] = ("x", [1], {})
    for value in values:
        with pytest.raises(ValueError, match=f"^{re.escape(f'{name} is {takes}, not {value!r}')}$"):
            Options.of({name: value})


@pytest.mark.parametrize("env", [{"A": 1}, {1: "A"}, {"A": None}])
def test_an_environment_holds_texts(env: dict[Any, Any]) -> None:
    ((name, value),) = env.items()
    with pytest.raises(ValueError, match=f"^env sets {name!r} to {value!r}, which no environment can hold: "):
        Options.of({"env": env})


def test_a_log_dir_of_another_type_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^log_dir 3 cannot be the name of a folder$"):
        Options.of({"log_dir": 3})


@pytest.mark.parametrize("name", ["capture", "collect"])
@pytest.mark.parametrize("names", ["loss", "loss,acc", "x", 3])
def test_names_are_a_collection(name: str, names: Any) -> None:
    takes = f"{name} is a collection of names of variables, such as ['loss'], not {names!r}"
    with pytest.raises(TypeError, match=f"^{re.escape(takes)}$"):
        Options.of({name: names})


def test_arguments_are_a_collection() -> None:
    with pytest.raises(TypeError, match=re.escape("args are the arguments of the function, such as (3,), not 3")):
        Options.of({"args": 3})


def test_all_that_is_checked_is_tried() -> None:
    assert {option.name for option in CHECKED} == set(BAD)
