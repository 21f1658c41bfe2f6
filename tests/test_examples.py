"""The examples of the documentation do what stands there: those of docstrings, cells and programs of the README."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import reduce
from pathlib import Path

import pytest

import nblaunch
from tests.kernel import Kernel

PACKAGE = Path(nblaunch.__file__).parent
README = PACKAGE.parent / "README.md"
PARSER = doctest.DocTestParser()


def _examples() -> Iterator[doctest.DocTest]:
    """Return the examples of each docstring, read from the source, so that none is missed."""
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if ">>>" in text:
            module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
            yield from _examples_in(ast.parse(text), module, (), path)


def _examples_in(node: ast.AST, module: str, names: tuple[str, ...], path: Path) -> Iterator[doctest.DocTest]:
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        text = ast.get_docstring(node) or ""
        if ">>>" in text:
            yield PARSER.get_doctest(text, {}, ".".join([module, *names]), str(path), 0)
        for inner in node.body:
            more = (inner.name,) if isinstance(inner, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) else ()
            yield from _examples_in(inner, module, (*names, *more), path)


EXAMPLES = [*_examples()]


def _module_of(name: str) -> str:
    while not PACKAGE.parent.joinpath(*name.split(".")).with_suffix(".py").exists():
        if PACKAGE.parent.joinpath(*name.split("."), "__init__.py").exists():
            return name
        name = name.rpartition(".")[0]
    return name


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_the_examples_of_a_docstring(example: doctest.DocTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    module = importlib.import_module(_module_of(example.name))
    # the docstring is that of the object, and not only of the source
    names = example.name.removeprefix(module.__name__).split(".")[1:]
    assert ">>>" in str(reduce(getattr, names, module).__doc__)
    example.globs = {**vars(module), "__name__": "__main__"}
    said: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example, out=said.append)
    assert "".join(said) == ""


def test_what_users_call_has_examples() -> None:
    assert {"launch", "RanksFailed", "Run", "Stacks", "start_processes", "record"} <= {
        example.name.rpartition(".")[2] for example in EXAMPLES
    }


def _blocks(heading: str) -> list[str]:
    """Return the Python of one section of the README; the first section is called by the title."""
    (section,) = re.findall(
        rf"^#+ {heading}\n(.*?)(?=^## |\Z)", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    return re.findall(r"```python\n(.*?)\n```", section, re.DOTALL)


@pytest.mark.parametrize("heading", ["What comes back", "For programs: `nblaunch.processes`"])
def test_the_programs_of_the_readme(heading: str, tmp_path: Path) -> None:
    """What they print stands behind each `print`."""
    (program,) = [block for block in _blocks(heading) if block.startswith("import ")]
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    promised = re.findall(r"print\(.*\)  # (.*)$", program, re.MULTILINE)
    assert promised
    assert done.stdout.splitlines() == promised


@pytest.mark.kernel
def test_the_cells_of_the_readme() -> None:
    cells = [cell for heading in ("nblaunch", "What comes back", "When a rank fails") for cell in _blocks(heading)]
    assert len(cells) > 8
    with Kernel() as kernel:
        for cell in cells:
            kernel.run(cell).ok()
        # what stands behind the lines as comments
        kernel.run("assert results == {0: 0, 1: 1, 3: 3}, results").ok()
        kernel.run("assert repr(failure.exception) == \"ValueError('no data on this rank')\"").ok()
        kernel.run("assert (failure.exitcode, failure.collateral) == (1, False)").ok()
        kernel.run("assert job.results == {0: (0, 9), 1: (1, 9), 2: (2, 9), 3: (3, 9)}").ok()


def test_the_section_of_the_readme_that_is_asked_for_exists() -> None:
    with pytest.raises(ValueError, match="not enough values"):
        _blocks("Nothing of the kind")
