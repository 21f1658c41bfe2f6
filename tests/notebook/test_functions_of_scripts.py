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
