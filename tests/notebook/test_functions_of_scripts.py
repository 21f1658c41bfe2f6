"""Functions that came into the notebook by ``%run`` and the like: their globals are not the notebook's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel import Kernel

pytestmark = pytest.mark.kernel

HELPERS = """
factor = 10
def who():
    return rank * factor
class Model:
    def size(self):
        return who() + world_size
def launched():
    import nblaunch
    return nblaunch.launch(who, 2).results
"""


@pytest.mark.parametrize(
    "way",
    [
        "%run helpers.py",
        "%run -i helpers.py",
        "%run -n helpers.py",
        "import runpy\nglobals().update(runpy.run_path('helpers.py'))",
        "space = {}\nexec(open('helpers.py').read(), space)\nwho, Model, launched = (space[n] for n in NAMES)",
        "%load_ext nblaunch\nexec(open('helpers.py').read())",
    ],
)
def test_they_find_the_rank(kernel: Kernel, tmp_path: Path, way: str) -> None:
    (tmp_path / "helpers.py").write_text(HELPERS)
    kernel.run(f"%cd -q {tmp_path}\nNAMES = 'who', 'Model', 'launched'\n{way}").ok()
    kernel.run("%%multiproc 2\n(who(), Model().size())").ok()
    assert kernel.value("results") == {0: (0, 2), 1: (10, 12)}
    assert kernel.value("launched()") == {0: 0, 1: 10}
    # what a cell sets is the notebook's, as it is in the notebook: functions with globals of their own have theirs
    shared = way.endswith("-i helpers.py") or "load_ext" in way
    kernel.run("%%multiproc 2\nfactor = 100\nwho()").ok()
    assert kernel.value("results") == {0: 0, 1: 100 if shared else 10}


def test_a_script_that_is_run_launches(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import nblaunch\nmine = 5\ndef f():\n    return rank + mine\n"
        "print(nblaunch.launch(f, 2, panel='none').results, nblaunch.launch('f() + mine', 2, panel='none').results)\n"
    )
    assert kernel.run(f"%run {tmp_path / 'script.py'}").ok().stdout == "{0: 5, 1: 6} {0: 10, 1: 11}\n"


WITH_DEFAULTS = """
import os
rank = 0
local_rank = os.environ.get("LOCAL_RANK")
world_size = 1
def log():
    return f"{rank} of {world_size}"
class Model:
    def size(self):
        return local_rank, world_size
def becomes():
    global rank
    rank += 10
    return rank
def where():
    return log(), becomes()
"""


@pytest.mark.parametrize("way", ["%run helpers.py", "space = {}\nexec(open('helpers.py').read(), space)"])
def test_what_a_script_sets_by_default_is_the_ranks_own_in_ranks(kernel: Kernel, tmp_path: Path, way: str) -> None:
    (tmp_path / "helpers.py").write_text(WITH_DEFAULTS)
    script = "helpers.py" if "%run" in way else "the script that it came from"
    prefix = "" if "%run" in way else "log, Model, where = (space[name] for name in ('log', 'Model', 'where'))"
    kernel.run(f"%cd -q {tmp_path}\n%load_ext nblaunch\n{way}\n{prefix}").ok()
    # here it is what the script says
    assert kernel.value("(log(), Model().size())") == ("0 of 1", (None, 1))
    reply = kernel.run("%%multiproc 2\nlog()").ok()
    assert kernel.value("results") == {0: "0 of 2", 1: "1 of 2"}
    assert reply.stderr.splitlines()[-1] == (
        f"In the ranks, log() finds the rank's own 'rank' and 'world_size', and not the ones that {script} sets (0 and "
        "1). Give them other names there if they mean something else."
    )
    # it is said once
    assert "the rank's own" not in kernel.run("%%multiproc 2\nlog()").ok().stderr
    reply = kernel.run("%%multiproc 2\nModel().size(), where()").ok()
    assert kernel.value("results") == {0: ((0, 2), ("0 of 2", 10)), 1: ((1, 2), ("1 of 2", 11))}
    assert reply.stderr.count("In the ranks, ") == 1
    assert "Model.size(), log() and becomes() find the rank's own 'rank', 'local_rank' and 'world_size'" in reply.stderr


def test_a_function_of_a_script_may_be_called_rank(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "helpers.py").write_text(
        "def rank(rows):\n    return len(rows)\ndef full():\n    return rank([1, 2])\n"
    )
    kernel.run(f"%cd -q {tmp_path}\n%load_ext nblaunch\n%run helpers.py").ok()
    reply = kernel.run("%%multiproc 2\nfull(), rank").ok()
    assert kernel.value("results") == {0: (2, 0), 1: (2, 1)}
    assert "find" not in reply.stderr
