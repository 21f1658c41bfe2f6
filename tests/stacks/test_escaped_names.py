"""Names as faulthandler writes them: told apart, and read, whatever letters are in them."""

from __future__ import annotations

import faulthandler
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

import nblaunch
from nblaunch.events import Frame, Stack
from nblaunch.runs.failures import crash_stack
from nblaunch.stacks.dump import frames_of, read_answer
from nblaunch.stacks.escaped_names import as_written, unescaped
from nblaunch.stacks.folding import label_cells

PACKAGE = Path(nblaunch.__file__).parent


def written(file: str, function: str) -> Frame:
    """Return the frame of a function with these names, as this Python's faulthandler writes it."""
    space: dict[str, Callable[[Callable[[], None]], None]] = {}
    exec(compile(f"def {function}(call): call()", file, "exec"), space)
    with tempfile.TemporaryFile("w+") as target:

        def dump() -> None:
            faulthandler.dump_traceback(target, all_threads=False)

        next(iter(value for name, value in space.items() if name != "__builtins__"))(dump)
        target.seek(0)
        lines = target.read().splitlines()
    (raw,) = [line for line in lines if line.startswith('  File "') and " in dump" not in line][:1]
    head, _, function_written = raw.rpartition(" in ")
    file_written = head.partition('"')[2].rpartition('"')[0]
    (read,) = frames_of([raw])
    assert as_written(file) == as_written(read.file) == file_written
    assert as_written(read.function) == function_written
    return read


@pytest.mark.parametrize(
    ("file", "read"),
    [
        ("/tmp/plain.py", "/tmp/plain.py"),
        ("/tmp/Ünï/größe.py", "/tmp/Ünï/größe.py"),
        ("/tmp/漢字/Δ.py", "/tmp/漢字/Δ.py"),
        ("/tmp/\U0001f600.py", "/tmp/\U0001f600.py"),
        ("/tmp/a\u0301.py", "/tmp/a\u0301.py"),
        # a real backslash, followed by what faulthandler would never escape
        ("/tmp/a\\b\\x41\\u00e9\\xE9.py", "/tmp/a\\b\\x41\\u00e9\\xE9.py"),
        ("/tmp/\\\\ä\\.py", "/tmp/\\\\ä\\.py"),
        # what cannot be shown stays an escape: bytes that are no UTF-8, line breaks
        (os.fsdecode(b"/tmp/\xe9.py"), "/tmp/\\udce9.py"),
        ("/tmp/a\nb\x7f\x85.py", "/tmp/a\\x0ab\\x7f\\x85.py"),
        ('/tmp/q"uote", line 3 in x.py', '/tmp/q"uote", line 3 in x.py'),
        ("<string é>", "<string é>"),
    ],
)
def test_names_of_files(file: str, read: str) -> None:
    assert written(file, "f").file == read
    assert unescaped(as_written(file)) == read


def test_a_long_name_is_cut_off() -> None:
    file = "/tmp/" + "ä" * 600 + ".py"
    assert written(file, "f").file == "/tmp/" + "ä" * 495 + "..."


@pytest.mark.parametrize("name", ["größe", "计算", "Δt", "naïve_漢", "plain"])
def test_names_of_functions(name: str) -> None:
    assert written("/tmp/x.py", name).function == name


@pytest.mark.parametrize("place", ["/tmp/Ünï", "/tmp/a\\xe9b", os.fsdecode(b"/tmp/\xe9"), "/tmp/plain"])
def test_a_cell_is_known_by_its_file_whatever_the_temporary_folder_is_called(place: str) -> None:
    file = f"{place}/ipykernel_7/123.py"
    frames = (written(file, "größe"), Frame("/tmp/other/ipykernel_7/123.py", 3, "f"))
    (named,) = label_cells({0: Stack((frames,), "")}, {file: 12}).values()
    assert named.threads == ((Frame("Cell In[12]", 1, "größe"), frames[1]),)


def test_a_crash_is_shown_in_the_words_of_the_notebook() -> None:
    dump = textwrap.dedent(
        """\
        Fatal Python error: Segmentation fault

        Current thread 0x00007f (most recent call first):
          File "/tmp/\\xdcn\\xef/lib.py", line 5 in gr\\xf6\\xdfe
          File "/tmp/\\xdcn\\xef/1.py", line 2 in <module>
        """
    )
    assert crash_stack(dump, {"/tmp/Ünï/1.py": 3}).splitlines()[1:] == [
        "  File /tmp/Ünï/lib.py:5, in größe",
        "  Cell In[3], line 2",
    ]


# ---- more frames than Python writes


DEEP = """
import faulthandler
def down(n):
    down(n - 1) if n else faulthandler.dump_traceback(all_threads={all_threads})
def through_c(n):
    list(map(through_c, [n - 1])) if n else faulthandler.dump_traceback(all_threads={all_threads})
{call}
"""


@pytest.mark.parametrize("all_threads", [False, True])
@pytest.mark.parametrize(
    ("call", "cut"),
    [("down(130)", True), ("through_c(130)", True), ("down(10)", False), ("down(90)", False), ("through_c(40)", False)],
)
def test_a_stack_that_python_cuts_off_is_known_to_be(tmp_path: Path, call: str, cut: bool, all_threads: bool) -> None:
    # a program that has a file ends with it; one that has none (-c) ends as what `exec` runs does
    program = tmp_path / "program.py"
    program.write_text(DEEP.format(all_threads=all_threads, call=call))
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60, check=True)
    answer = read_answer(done.stderr)
    assert answer.main is not None
    assert answer.cut is cut


def test_a_deep_crash_tells_that_there_is_more() -> None:
    code = f"import faulthandler; faulthandler.enable()\n{DEEP.format(all_threads=False, call='down(130)')}"
    code = code.replace("faulthandler.dump_traceback(all_threads=False)", "faulthandler._sigsegv()")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    lines = crash_stack(done.stderr, {"<string>": 4}).splitlines()
    assert lines[0] == "Fatal Python error: Segmentation fault, most recent call first"
    assert lines[-1] == "  … and all that are further out: Python tells of no more than a hundred"
    assert set(lines[1:-1]) == {"  Cell In[4], line 5, in down"}


# ---- an installation in such a folder


PROGRAM = """
import os, sys
import nblaunch
from nblaunch.launching.source import Notebook
assert nblaunch.__file__.startswith({place!r}), nblaunch.__file__
cell = '''
import threading
def größe():
    print("ready", flush=True)
    threading.Event().wait()
größe()
'''
run = nblaunch.launch(cell, 1, notebook=Notebook({{"__name__": "__main__"}}), panel="none", wait=False)
while "ready" not in run.logs[0].stdout:
    pass
print(run.stacks())
run.kill(); run.wait()
failed = nblaunch.launch("def größe():\\n    import faulthandler; faulthandler._sigsegv()\\ngröße()", 1, panel="none")
print(failed.failures[0].traceback)
"""


@pytest.mark.parametrize("name", ["Ünï", "a\\xe9b", os.fsdecode(b"\xe9x")], ids=["letters", "backslash", "bytes"])
def test_an_installation_in_such_a_folder(tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    shutil.copytree(PACKAGE, place / "nblaunch", ignore=shutil.ignore_patterns("__pycache__"))
    (place / "tmp").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(place=str(place))],
        env=os.environ | {"PYTHONPATH": str(place), "TMPDIR": str(place / "tmp")},
        capture_output=True,
        cwd=tmp_path,
        text=True,
        errors="surrogateescape",
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    said = [line.strip() for line in done.stdout.splitlines()]
    assert said[0].startswith("rank 0: waiting in wait, ")
    assert said[0].endswith(", line 4, in größe"), said
    assert "Fatal Python error: Segmentation fault, most recent call first" in said
    assert said[-2] == "Cell In[0], line 2, in größe", said
    assert str(as_written(str(place))) not in done.stdout
