"""`nblaunch.launching.prepare`: what is checked and packed before anything is started or made."""

from __future__ import annotations

import gc
import os
import tempfile
import threading
import weakref
from pathlib import Path
from typing import Any

import psutil
import pytest

from nblaunch.engines.local import LocalEngine
from nblaunch.launching import elsewhere, presenting
from nblaunch.launching.options import Options
from nblaunch.launching.prepare import prepare
from nblaunch.launching.session import Session
from nblaunch.launching.source import Notebook
from nblaunch.runs import registry


def _traces(folder: Path) -> object:
    process = psutil.Process()
    return (
        sorted(os.listdir(tempfile.gettempdir())),
        sorted(folder.iterdir()),
        sorted(os.listdir("/proc/self/fd")),
        [child.pid for child in process.children(recursive=True)],
        threading.enumerate(),
        dict(os.environ),
        registry.known(),
        set(presenting._TOLD),
        dict(elsewhere._bound_before),
    )


def test_nothing_is_made_or_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    logs = tmp_path / "logs"
    notebook = Notebook({"text": "x" * 2_000_000, "lock": 3})
    options = Options(log_dir=str(logs), size_notice=1, timeout=60, env={"A": "B"}, collect=("bound",))
    prepare("len(text)", 2, options, notebook)  # what is imported at the first time is
    before = _traces(tmp_path)
    prepared = prepare("bound = rank\nlen(text) + rank", 2, options, notebook)
    assert _traces(tmp_path) == before
    assert capfd.readouterr() == ("", "")
    assert prepared.captured["text"] > 2_000_000
    assert prepared.work.nprocs == 2
    assert prepared.title == "launch(a cell, 2)"
    assert not logs.exists()
    run = _run(Session(prepared, LocalEngine()))
    assert run == {0: 2_000_000, 1: 2_000_001}
    assert logs.exists()


def test_it_may_be_started_more_than_once() -> None:
    words = ["a", "b"]
    prepared = prepare("words.append(rank)\nwords", 2, Options(panel="none"), Notebook({"words": words}))
    for _ in range(2):
        assert _run(Session(prepared, LocalEngine())) == {0: ["a", "b", 0], 1: ["a", "b", 1]}
    assert words == ["a", "b"]


def test_a_session_does_not_keep_what_was_packed() -> None:
    prepared = prepare("len(text) + rank", 2, Options(panel="text"), Notebook({"text": "x" * 1000}))
    kept: list[weakref.ref[Any]] = [weakref.ref(prepared), *(weakref.ref(packed) for packed in prepared.payload)]
    session = Session(prepared, LocalEngine())
    del prepared
    assert _run(session) == {0: 1000, 1: 1001}
    gc.collect()
    assert [reference() for reference in kept] == [None, None, None]


def test_a_folder_of_logs_that_cannot_be_made_is_told_before_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    prepared = prepare("rank", 2, Options(log_dir=str(tmp_path / "file" / "logs")), Notebook({}))
    with pytest.raises(ValueError, match=r"log_dir '.*' cannot be made: .*; name a folder that you may write to"):
        Session(prepared, LocalEngine())


def _run(session: Session) -> dict[int, object]:
    session.start_and_wait()
    session.run.raise_for_failures()
    return session.run.results
