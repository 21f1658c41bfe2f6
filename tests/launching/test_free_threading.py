"""A Python without its global lock: what is said of it, and that nothing is said of any other."""

from __future__ import annotations

import sys

import pytest

from nblaunch.launching import presenting
from nblaunch.launching.free_threading import UNTRIED
from nblaunch.launching.session import launch
from nblaunch.launching.source import Notebook
from nblaunch.magic.doctor import examine

FREE = not getattr(sys, "_is_gil_enabled", lambda: True)()


@pytest.fixture(autouse=True)
def untold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presenting, "_TOLD", set())


def said_by_two_runs(capsys: pytest.CaptureFixture[str]) -> str:
    for number in range(2):
        run = launch("rank", 2, notebook=Notebook({"__name__": "__main__"}), start_method="fork")
        assert run.results == {0: 0, 1: 1}, f"run {number}"
    read = capsys.readouterr()
    return " ".join((read.out + read.err).split())


def test_the_first_run_without_the_lock_says_so_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    assert said_by_two_runs(capsys).count(UNTRIED) == 1
    assert examine("zygote").splitlines()[1].strip() == UNTRIED


@pytest.mark.skipif(FREE, reason="this Python has no lock")
def test_nothing_is_said_where_there_is_the_lock(capsys: pytest.CaptureFixture[str]) -> None:
    assert "PYTHON_GIL" not in said_by_two_runs(capsys)
    assert "PYTHON_GIL" not in examine("zygote")


def test_the_sentence_says_what_can_be_done() -> None:
    assert UNTRIED == (
        "this Python runs without its global lock (free threading), and nblaunch was never tried so: "
        "if runs go wrong, start it with PYTHON_GIL=1, or use an ordinary Python"
    )
