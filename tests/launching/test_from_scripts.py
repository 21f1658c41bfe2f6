"""`launch` in a script that another program runs: its functions have globals of their own, and still find `rank`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import nblaunch
factor = 10
def inner():
    return rank * factor
class Model:
    def size(self):
        return inner() + world_size
def work():
    return Model().size(), eval("local_rank")
if __name__ == "__main__":
    print(nblaunch.launch(work, 2).results)
    print(nblaunch.launch("inner() + factor", 2, panel="none").results)
"""
DOCUMENTED = '''
"""
>>> import nblaunch
>>> def work(): return rank * 10
>>> nblaunch.launch(work, 2, panel="none").results
{0: 0, 1: 10}
>>> nblaunch.launch("work() + rank", 2, panel="none").results
{0: 0, 1: 11}
"""
'''
OUT = "{0: (2, 0), 1: (12, 1)}\n{0: 10, 1: 20}\n"


@pytest.mark.parametrize(
    "way",
    [
        [],
        ["-m", "cProfile"],
        ["-m", "profile"],
        ["-m", "trace", "--count", "--summary", "--coverdir=counts", "--ignore-dir=/"],
        ["-m", "pdb", "-c", "continue"],
        ["-c", "import runpy; runpy.run_path('script.py', run_name='__main__')"],
        ["-c", "exec(open('script.py').read(), {'__name__': '__main__'})"],
        ["-m", "IPython", "--no-banner"],
    ],
    ids=lambda way: way[1].partition(" ")[0] if len(way) > 1 else "python",
)
def test_functions_find_the_rank_whoever_runs_the_script(tmp_path: Path, way: list[str]) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    script = [] if "-c" in way and "-m" not in way else ["script.py"]
    done = subprocess.run(
        [sys.executable, *way, *script],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert OUT in done.stdout, done.stderr


def test_a_doctest(tmp_path: Path) -> None:
    (tmp_path / "documented.py").write_text(DOCUMENTED)
    command = [sys.executable, "-m", "doctest", "documented.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=90)
    assert (done.returncode, done.stdout) == (0, "")


def test_an_embedded_shell(tmp_path: Path) -> None:
    (tmp_path / "embedded.py").write_text(
        "import IPython, nblaunch\ndef outer():\n    y = 5\n    def f():\n        return rank + y\n"
        "    IPython.embed(colors='NoColor')\nouter()\n"
    )
    lines = (
        "print('first', nblaunch.launch(f, 2, panel='none').results)\n"
        "def h(): return rank\n\n"
        "print('second', nblaunch.launch(h, 2, panel='none').results)\n"
        "print('third', nblaunch.launch('y + rank', 2, panel='none').results)\nexit\n"
    )
    command = [sys.executable, "embedded.py"]
    done = subprocess.run(command, cwd=tmp_path, input=lines, capture_output=True, text=True, timeout=90)
    assert "first {0: 5, 1: 6}" in done.stdout, done.stderr
    assert "second {0: 0, 1: 1}" in done.stdout
    assert "third {0: 5, 1: 6}" in done.stdout


def test_a_name_of_the_functions_own_globals_counts_more() -> None:
    from nblaunch.launching.session import launch

    space = {"rank": "own"}
    exec("def f():\n    return rank, world_size", space)
    assert launch(space["f"], 2, panel="none").results == {0: ("own", 2), 1: ("own", 2)}
