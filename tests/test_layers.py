"""The layers of the package: a module imports only from layers below its own, and no modules import each other."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import nblaunch

PACKAGE = Path(nblaunch.__file__).parent
ROOT = PACKAGE.parent
# From below. What stands in one line does not import from one another.
LAYERS = (
    ("cell_threads", "events", "exports", "interrupts", "refusals", "wording"),
    ("flag",),
    ("jupyter", "logs", "payload", "stacks"),
    ("capture", "messages", "settings"),
    ("processes._linux", "processes.numa"),
    ("processes.threads",),
    ("processes.wire", "processes.errors", "processes.redirects", "processes.subprocess_handler"),
    ("processes.child", "processes.tail_log"),
    ("processes.starting", "processes.watching"),
    ("processes.gang",),
    ("processes.elastic",),
    ("processes.api",),
    ("processes",),
    ("rank",),
    ("engines",),
    ("runs",),
    ("panel",),
    ("launching",),
    ("magic",),
)
HEIGHT = {name: height for height, names in enumerate(LAYERS) for name in names}


def _modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if name != "nblaunch":
            found[name] = path
    return found


MODULES = _modules()


def _layer(module: str) -> str:
    parts = module.split(".")[1:]
    return ".".join(parts[:2] if parts[0] == "processes" else parts[:1])


def _draw_map() -> Any:
    specification = importlib.util.spec_from_file_location("draw_map", ROOT / "docs" / "draw_map.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


draw_map = _draw_map()
IMPORTS: dict[str, set[str]] = {
    f"nblaunch.{name}": {f"nblaunch.{other}" for other in imported}
    for name, imported in draw_map.module_imports(PACKAGE).items()
}


def test_every_module_has_a_layer() -> None:
    assert {_layer(name) for name in MODULES} == HEIGHT.keys()


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module: str) -> None:
    own = _layer(module)
    for imported in IMPORTS[module]:
        other = _layer(imported)
        assert other == own or HEIGHT[other] < HEIGHT[own], f"{module} imports {imported}"


def test_no_modules_import_each_other() -> None:
    below: dict[str, set[str]] = {}

    def visit(module: str, way: tuple[str, ...]) -> set[str]:
        assert module not in way, " → ".join([*way[way.index(module) :], module])
        if module not in below:
            below[module] = set()
            found = {inner for name in IMPORTS.get(module, ()) for inner in (name, *visit(name, (*way, module)))}
            below[module] = found
        return below[module]

    for module in MODULES:
        visit(module, ())


def test_the_picture_of_the_layers_is_that_of_today() -> None:
    """It is drawn by ``make map``."""
    assert draw_map.MAP.read_text(encoding="utf-8") == draw_map.svg(draw_map.imports_of(PACKAGE))
    with pytest.raises(ValueError, match="a circle of imports: a → b → a"):
        draw_map.heights({"a": {"b"}, "b": {"a"}})


# A name in quotes, or in backquotes in a docstring, of something in this package: reached by text, not by an import.
_BY_TEXT = re.compile(r"""["'`](nblaunch(?:\.\w+)+)(?::(\w+))?["'`]""")
_BY_PATH = re.compile(r"""["'`]((?:nblaunch|tests|benchmarks|docs|notebooks)/[\w./-]+\.\w+)["'`]""")


def _texts() -> Iterator[Path]:
    for folder in ("nblaunch", "tests", "benchmarks"):
        yield from sorted((ROOT / folder).rglob("*.py"))
    yield from (ROOT / name for name in ("pyproject.toml", "CONTRIBUTING.md", "README.md", "Makefile"))
    yield from sorted((ROOT / "docs").glob("*.md"))


def _is_something(name: str) -> bool:
    module = name
    attributes: list[str] = []
    while module not in MODULES and module != "nblaunch":
        module, _, attribute = module.rpartition(".")
        attributes.insert(0, attribute)
    if not attributes:
        return True
    if importlib.util.find_spec(module) is None:
        return False
    source = (MODULES[module] if module != "nblaunch" else PACKAGE / "__init__.py").read_text()
    return re.search(rf"\b{attributes[0]}\b", source) is not None


@pytest.mark.parametrize("path", [*_texts()], ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_named_in_a_text_exists(path: Path) -> None:
    """Entry points of ranks, `sys.modules` probes, settings of tools, and what docstrings refer to."""
    text = path.read_text(encoding="utf-8")
    for name, function in _BY_TEXT.findall(text):
        assert _is_something(f"{name}.{function}" if function else name), f"{path} names {name}"
    for name in _BY_PATH.findall(text):
        assert (ROOT / name).exists(), f"{path} names {name}"


_IMPORTED_BY_TEXT = re.compile(r"from (nblaunch(?:\.\w+)*) import (\w+(?:, \w+)*)|import (nblaunch(?:\.\w+)+)(?![\w.])")


def test_what_programs_in_texts_import_exists() -> None:
    """Programs and cells that tests and benchmarks have as strings; no type checker sees them."""
    for path in (path for path in _texts() if path.suffix == ".py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
                continue
            for module, names, imported in _IMPORTED_BY_TEXT.findall(node.value):
                for name in [imported] if imported else [f"{module}.{name}" for name in names.split(", ")]:
                    assert _is_something(name), f"{path}:{node.lineno} imports {name}"


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
