"""Where modules lie that an import would not find again."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from nblaunch.launching import imported_modules
from nblaunch.launching.imported_modules import modules_found_elsewhere


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module that was imported from a folder which is on the path no longer."""
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "found_elsewhere.py").write_text(f"PLACE = {place!r}\n")
    imported_modules._candidates.cache_clear()
    yield _import_from(tmp_path / "one", monkeypatch)
    sys.modules.pop("found_elsewhere", None)


def _import_from(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    sys.modules.pop("found_elsewhere", None)
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(folder))
        return importlib.import_module("found_elsewhere")


def test_a_module_from_a_folder_that_is_not_on_the_path(module: Any, tmp_path: Path) -> None:
    assert modules_found_elsewhere()["found_elsewhere"] == module.__file__
    # asked again, as each launch does
    assert modules_found_elsewhere()["found_elsewhere"] == module.__file__


def test_one_that_is_imported_anew_from_elsewhere(module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert modules_found_elsewhere()["found_elsewhere"] == module.__file__
    # there are as many modules as before
    other = _import_from(tmp_path / "two", monkeypatch)
    assert modules_found_elsewhere()["found_elsewhere"] == other.__file__ != module.__file__


def test_one_that_is_found_again(module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "found_elsewhere" in modules_found_elsewhere()
    monkeypatch.syspath_prepend(str(tmp_path / "one"))
    assert "found_elsewhere" not in modules_found_elsewhere()


def test_another_file_comes_before_it(module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path / "one"))
    (tmp_path / "first").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "first"))
    assert "found_elsewhere" not in modules_found_elsewhere()
    (tmp_path / "first" / "found_elsewhere.py").touch()
    importlib.invalidate_caches()
    assert modules_found_elsewhere()["found_elsewhere"] == module.__file__


def test_what_lies_outside_is_looked_for_once(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imported_modules, "is_own", lambda name: False)
    assert "found_elsewhere" in modules_found_elsewhere()
    asked: list[str] = []
    monkeypatch.setattr(imported_modules, "_spec", asked.append)
    assert "found_elsewhere" in modules_found_elsewhere()
    assert asked == []
