"""What lies on the machine of the ranks is reached through the engine: whoever shows or keeps a run opens no files."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import nblaunch

PACKAGE = Path(nblaunch.__file__).parent
MODULES = [path for name in ("panel", "runs") for path in sorted((PACKAGE / name).rglob("*.py"))]
# What a browser loads is part of nblaunch.
OWN_FILES = {"panel/joining.py", "panel/widget.py"}

# Calls that look at files by their paths; of methods only the name can be seen.
FUNCTIONS = {"open", "io.open"}
IN_OS = {
    *("access", "listdir", "lstat", "mkdir", "makedirs", "open", "readlink", "remove", "rename", "rmdir", "scandir"),
    *("stat", "truncate", "unlink", "walk", "path.exists", "path.getmtime", "path.getsize", "path.isdir"),
    *("path.isfile", "path.islink", "path.lexists", "path.realpath"),
}
METHODS = {
    *("exists", "glob", "is_dir", "is_file", "iterdir", "read_bytes", "read_text", "rglob", "touch", "write_bytes"),
    "write_text",
}
MODULES_OF_FILES = {"fcntl", "fileinput", "glob", "linecache", "mmap", "pathlib", "tempfile"}
# What takes a path among that which reads logs.
IN_LOGS = {"LocalLogs", "LogFile", "held_from", "open_log", "order_path", "read_notes", "read_part", "size_of"}
IN_PROCESSES = {"read_error_file"}


def found_in(source: str) -> set[str]:
    """Return what in a module opens files, or looks at them."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & MODULES_OF_FILES
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module)} & MODULES_OF_FILES
            found |= {alias.name for alias in node.names} & (IN_LOGS | IN_PROCESSES)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            of_files = name.startswith("shutil.") and name != "shutil.get_terminal_size"
            if name in FUNCTIONS or of_files or (name.startswith("os.") and name[3:] in IN_OS):
                found.add(name)
            elif isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
                found.add(node.func.attr)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_panel_and_runs_open_no_files(path: Path) -> None:
    found = found_in(path.read_text(encoding="utf-8"))
    assert bool(found) == (str(path.relative_to(PACKAGE)) in OWN_FILES), found


@pytest.mark.parametrize(
    "source",
    [
        "with open(path) as file: pass",
        "import os\nos.path.getsize(path)",
        "import os\nfor found in os.scandir(path): pass",
        "import shutil\nshutil.copy(path, other)",
        "log.read_text()",
        "from pathlib import Path",
        "from nblaunch.logs.files import from_its_middle, read_part",
        "from nblaunch.processes.errors.failure import read_error_file",
    ],
)
def test_it_would_be_seen(source: str) -> None:
    assert found_in(source)


def test_what_only_names_a_path_is_no_file() -> None:
    assert not found_in("import os\nos.path.join(folder, 'error.json')\nreader.read(0, 1, 0, 10)\nself._open(kind)")
