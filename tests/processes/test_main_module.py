"""Programs whose functions and classes are in `__main__`: run as a script, as a module, by ``-c``, without a guard."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes.targets import METHODS

HEAD = """
import sys, threading
from nblaunch.processes import DefaultLogsSpecs, start_processes
"""
BODY = """
LOCK = threading.Lock()  # cannot be pickled
COUNT = [0]

class Thing:
    def __init__(self, number):
        self.number = number

    class Inner:
        pass

def work(thing, number):
    with LOCK:
        COUNT[0] += 1
        assert type(thing) is Thing, (type(thing), Thing)
        return Thing(thing.number + number), Thing.Inner(), Thing, sys.argv

def main(method, log_dir):
    args = {rank: (Thing(10), rank) for rank in range(2)}
    context = start_processes("x", work, args, {0: {}, 1: {}}, DefaultLogsSpecs(log_dir=log_dir), start_method=method)
    result = context.wait()
    for rank, failure in result.failures.items():
        print(rank, failure.message)
    for thing, inner, cls, argv in result.return_values.values():
        assert isinstance(thing, Thing) and isinstance(inner, Thing.Inner) and cls is Thing
        assert argv == sys.argv
        print(thing.number)
"""
GUARDED = 'if __name__ == "__main__":\n    main(sys.argv[1], sys.argv[2])\n'


def run(command: list[str], cwd: Path, text: str | None = None) -> str:
    done = subprocess.run(
        [sys.executable, *command], cwd=cwd, input=text, capture_output=True, text=True, timeout=60, env=os.environ
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("method", METHODS)
def test_a_script(tmp_path: Path, method: str) -> None:
    (tmp_path / "script.py").write_text(HEAD + BODY + GUARDED)
    assert run(["script.py", method, str(tmp_path / "logs")], tmp_path) == "10\n11\n"


@pytest.mark.parametrize("method", METHODS)
def test_a_script_that_has_changed_directory(tmp_path: Path, method: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "script.py").write_text(
        HEAD + "import os\n" + BODY + GUARDED.replace(":\n", ':\n    os.chdir("elsewhere")\n')
    )
    assert run(["script.py", method, str(tmp_path / "logs")], tmp_path) == "10\n11\n"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("module", ["package", "package.program"])
def test_a_module(tmp_path: Path, method: str, module: str) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    body = HEAD + BODY
    if module == "package":
        # the functions of a package's __main__ cannot be found by name, and so must not need what cannot be pickled
        body = body.replace("threading.Lock()  #", "__import__('contextlib').nullcontext()  #")
    (package / ("__main__.py" if module == "package" else "program.py")).write_text(body + GUARDED)
    assert run(["-m", module, method, str(tmp_path / "logs")], tmp_path) == "10\n11\n"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("source", ["-c", "-"])
def test_no_file_at_all(tmp_path: Path, method: str, source: str) -> None:
    script = (HEAD + BODY).replace("threading.Lock()  #", "__import__('contextlib').nullcontext()  #")
    script += "main(sys.argv[1], sys.argv[2])\n"
    rest = [method, str(tmp_path / "logs")]
    out = run(["-c", script, *rest], tmp_path) if source == "-c" else run(["-", *rest], tmp_path, script)
    assert out == "10\n11\n"


@pytest.mark.parametrize("method", ["spawn", "forkserver", "zygote"])
def test_a_script_without_a_guard_starts_no_ranks_without_end(tmp_path: Path, method: str) -> None:
    (tmp_path / "script.py").write_text(HEAD + BODY + "main(sys.argv[1], sys.argv[2])\n")
    out = run(["script.py", method, str(tmp_path / "logs")], tmp_path)
    told = (
        "RuntimeError: start_processes was called while a rank was importing the main module of this program, and "
        "would start ranks without end: put the call under `if __name__ == '__main__':`\n"
    )
    assert f"0 {told}" in out
    assert f"1 {told}" in out


@pytest.mark.parametrize("method", METHODS)
def test_what_waits_in_buffers_is_not_written_twice(tmp_path: Path, method: str) -> None:
    script = (
        HEAD
        + "import ctypes\n"
        + "def work():\n    print('rank')\n"
        + "if __name__ == '__main__':\n"
        + "    print('before')\n"
        + "    ctypes.CDLL(None).printf(b'before in c\\n')\n"
        + "    specs = DefaultLogsSpecs(log_dir=sys.argv[2])\n"
        + "    start_processes('x', work, {0: ()}, {0: {}}, specs, start_method=sys.argv[1]).wait()\n"
        + "    print('after')\n"
    )
    (tmp_path / "script.py").write_text(script)
    out = run(["script.py", method, str(tmp_path / "logs")], tmp_path)
    assert sorted(out.splitlines()) == ["after", "before", "before in c", "rank"]


def test_it_can_be_started_in_a_thread_of_a_program(tmp_path: Path) -> None:
    script = (
        HEAD
        + BODY
        + (
            "if __name__ == '__main__':\n"
            "    thread = threading.Thread(target=main, args=(sys.argv[1], sys.argv[2]))\n"
            "    thread.start()\n"
            "    thread.join()\n"
        )
    )
    (tmp_path / "script.py").write_text(script)
    out = run(["script.py", "spawn", str(tmp_path / "logs")], tmp_path)
    assert out.startswith("10\n11\n")
    assert "no SignalException is raised when a signal ends this program" in out
