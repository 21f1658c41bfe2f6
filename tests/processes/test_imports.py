"""Modules that are changed as soon as they are imported."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from nblaunch.processes.child.imports import when_imported


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module that nobody has imported."""
    (tmp_path / "changed_later.py").write_text("value = 1\n\ndef fail():\n    raise ValueError('the line is known')\n")
    monkeypatch.syspath_prepend(tmp_path)
    hooks = list(sys.meta_path)
    yield "changed_later"
    sys.modules.pop("changed_later", None)
    sys.meta_path[:] = hooks


def double(module: ModuleType) -> None:
    module.value *= 2  # type: ignore[attr-defined]


def test_once_it_is_there_and_then_never_again(module: str) -> None:
    before = len(sys.meta_path)
    when_imported(module, double)
    assert (module in sys.modules, len(sys.meta_path)) == (False, before + 1)
    imported = importlib.import_module(module)
    assert (imported.value, len(sys.meta_path)) == (2, before)
    assert importlib.reload(imported).value == 1
    when_imported(module, double)
    assert imported.value == 2


def test_of_two_changes_the_later_one_counts(module: str) -> None:
    when_imported(module, lambda module: pytest.fail("the first one"))
    when_imported(module, double)
    assert importlib.import_module(module).value == 2


def test_several_modules_share_a_finder(module: str) -> None:
    before = len(sys.meta_path)
    when_imported("another_one", double)
    when_imported(module, double)
    assert len(sys.meta_path) == before + 1
    assert importlib.import_module(module).value == 2
    with pytest.raises(ModuleNotFoundError, match="another_one"):
        importlib.import_module("another_one")


def test_who_only_looks_for_it_changes_nothing(module: str) -> None:
    when_imported(module, double)
    assert importlib.util.find_spec(module) is not None
    assert importlib.import_module(module).value == 2


def test_it_looks_as_if_nobody_had_waited_for_it(module: str) -> None:
    when_imported(module, double)
    imported = importlib.import_module(module)
    assert (imported.__name__, type(imported.__loader__).__name__) == (module, "SourceFileLoader")
    with pytest.raises(ValueError) as failed:
        imported.fail()
    assert "raise ValueError('the line is known')" in "".join(traceback.format_exception(failed.value))


def test_one_that_fails_is_awaited_still(module: str, tmp_path: Path) -> None:
    (tmp_path / f"{module}.py").write_text("import nothing_of_that_name")
    when_imported(module, double)
    with pytest.raises(ModuleNotFoundError, match="nothing_of_that_name"):
        importlib.import_module(module)
    (tmp_path / f"{module}.py").write_text("value = 100\n")
    importlib.invalidate_caches()
    assert importlib.import_module(module).value == 200


@pytest.mark.filterwarnings("ignore::ImportWarning")
def test_finders_of_an_older_kind_are_passed_over(module: str) -> None:
    class Old:
        def find_module(self, fullname: str, path: object = None) -> None:
            return None

    sys.meta_path.insert(0, Old())  # type: ignore[arg-type]
    when_imported("nothing_of_that_name", double)
    when_imported(module, double)
    with pytest.raises(ModuleNotFoundError, match="nothing_of_that_name"):
        importlib.import_module("nothing_of_that_name")
    assert importlib.import_module(module).value == 2


def test_a_loader_of_several_modules_changes_the_right_one(module: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as packed:
        packed.writestr("first_packed/__init__.py", "import first_packed.part\nvalue = 3\n")
        packed.writestr("first_packed/part.py", "value = 5\n")
    sys.path.insert(0, str(tmp_path / "packed.zip"))
    when_imported("first_packed", double)
    try:
        found = importlib.import_module("first_packed")
        assert (found.value, sys.modules["first_packed.part"].value) == (6, 5)
    finally:
        sys.path.remove(str(tmp_path / "packed.zip"))
        for name in ("first_packed", "first_packed.part"):
            sys.modules.pop(name, None)
