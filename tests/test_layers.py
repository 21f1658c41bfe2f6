"""The floors of the house: a room imports only from floors below its own."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import nblaunch

PACKAGE = Path(nblaunch.__file__).parent
FLOORS = {
    "events": 0,
    "clearing": 0,
    "escaped_names": 0,
    "flag": 0,
    "naming": 0,
    "names_in_text": 0,
    "names_looked_up": 0,
    "free_threading": 0,
    "interrupts": 0,
    "kept_logs": 0,
    "made_frames": 0,
    "refusals": 0,
    "sizes": 0,
    "displaying": 1,
    "stacks": 1,
    "temporary": 1,
    "log_files": 1,
    "stdin": 0,
    "payload": 1,
    "short_reprs": 2,
    "settings": 2,
    "capture": 1,
    "processes": 2,
    "imported_modules": 3,
    "rank": 3,
    "engines": 4,
    "panel": 4,
    "logs": 4,
    "rebuilding": 4,
    "notebook": 4,
    "options": 4,
    "questions": 4,
    "outputs": 4,
    "failures": 4,
    "attempt": 5,
    "run": 6,
    "commands": 7,
    "elsewhere": 5,
    "travelling": 7,
    "setup_cell": 4,
    "setting_up": 8,
    "launching": 8,
    "doctor": 4,
    "grammar": 8,
    "magic": 9,
}


def _modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def _room(module: str) -> str:
    return module.removeprefix("nblaunch.").split(".")[0]


def _imports(path: Path) -> set[str]:
    """Return the rooms that a file imports, lazily too; what only a type checker sees does not count."""
    tree = ast.parse(path.read_text())
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found.add(node.module or "")
            if node.module == "nblaunch":
                found |= {f"nblaunch.{alias.name}" for alias in node.names}
    return {_room(name) for name in found if name.startswith("nblaunch.")}


def test_every_room_has_a_floor() -> None:
    assert {_room(path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")) for path in _modules()} == (
        FLOORS.keys()
    )


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    room = path.relative_to(PACKAGE).with_suffix("").parts[0]
    for imported in _imports(path) - {room}:
        assert FLOORS[imported] < FLOORS[room], f"{path} imports {imported}"


FORBIDDEN = {
    "nblaunch": {"IPython", "ipywidgets", "anywidget", "torch", "numpy", "psutil", "cloudpickle"},
    "nblaunch.processes": {"IPython", "ipywidgets", "ipykernel", "torch", "numpy", "traitlets"},
    "nblaunch.rank.main": {"IPython", "ipywidgets", "anywidget", "jupyter_client", "torch", "numpy"},
    "nblaunch.rank.shell": {"ipywidgets", "anywidget", "ipykernel", "jupyter_client", "torch", "numpy"},
    "nblaunch.magic.multiproc": {"ipywidgets", "anywidget", "torch", "numpy"},
    "nblaunch.launching.session": {"ipywidgets", "anywidget", "IPython", "torch", "numpy"},
}


@pytest.mark.parametrize("module", FORBIDDEN)
def test_importing_stays_light(module: str) -> None:
    code = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not FORBIDDEN[module] & set(loaded)
