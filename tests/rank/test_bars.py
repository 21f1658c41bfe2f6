"""tqdm in a rank: text bars, whichever module they come from. Each case in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version

import pytest

_LOOP = """
for i in bar(range(3), desc="outer"):
    for j in bar(range(2), desc="inner", leave=False):
        pass
"""
_SOURCES = {
    "tqdm": "from tqdm import tqdm as bar",
    "auto": "from tqdm.auto import tqdm as bar",
    "notebook": "from tqdm.notebook import tqdm as bar",
    "notebook by its package": "import tqdm.notebook; bar = tqdm.notebook.tqdm_notebook",
    "autonotebook": "from tqdm.autonotebook import tqdm as bar",
}


def run(code: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    # not by subprocess, for which a carriage return ends a line
    out, err = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == 0, err
    return subprocess.CompletedProcess(done.args, 0, out, err)


@pytest.mark.parametrize("source", _SOURCES.values(), ids=_SOURCES)
@pytest.mark.parametrize("first", ["", "import tqdm.notebook, tqdm.auto\n"], ids=["later", "imported before"])
def test_every_form_is_text_on_stderr(source: str, first: str) -> None:
    done = run(
        f"{first}from nblaunch.rank.bars import use_text_bars; use_text_bars(); use_text_bars()\n{source}\n{_LOOP}"
    )
    assert done.stdout == ""
    assert re.search(r"\router: 100%\|█+\| 3/3 ", done.stderr)
    assert re.search(r"\n\rinner: +0%\|", done.stderr)
    assert "\x1b[A" in done.stderr
    # only the outer bar stays, and moving up takes back every step down but the last
    assert done.stderr.count("\n") == done.stderr.count("\x1b[A") + 1


def test_a_class_that_has_the_notebook_as_its_base_is_text_too() -> None:
    """As `tqdm.auto` does it in the kernel, of which a forked rank is a copy."""
    if version("tqdm").startswith("4.66."):
        pytest.skip("tqdm 4.66 looks at the shell instead of its module, and there is none here")
    done = run(
        "import sys, types\n"
        "sys.modules['ipykernel.zmqshell'] = types.ModuleType('ipykernel.zmqshell')\n"
        "import IPython, tqdm.auto, tqdm.notebook\n"
        "assert issubclass(tqdm.auto.tqdm, tqdm.notebook.tqdm_notebook)\n"
        "from nblaunch.rank.bars import use_text_bars; use_text_bars()\n"
        "bar = tqdm.auto.tqdm(total=4)\n"
        "bar.update(3); bar.set_description('now'); bar.reset(); bar.close()\n"
    )
    assert "now:  75%|" in done.stderr


def test_what_only_the_notebooks_bars_take_is_taken() -> None:
    done = run(
        "from nblaunch.rank.bars import use_text_bars; use_text_bars()\n"
        "from tqdm.notebook import tqdm, trange, tnrange, tqdm_notebook\n"
        "assert tqdm is tqdm_notebook and trange is tnrange\n"
        "for i in trange(3, display=True, ncols='100%', colour='red', desc='d'): pass\n"
        "for i in trange(3, ncols=40, desc='e'): pass\n"
        "bar = tqdm(range(2), disable=True); bar.reset(5); bar.close()\n"
    )
    assert "d: 100%" in done.stderr
    assert len(done.stderr.rsplit("\r", 1)[1].strip()) == 40


def test_other_modules_are_found_as_ever() -> None:
    done = run(
        "from nblaunch.rank.bars import use_text_bars; use_text_bars()\n"
        "import importlib.util, inspect, tqdm.notebook, tqdm.std\n"
        "print(tqdm.notebook.__file__, importlib.util.find_spec('tqdm.contrib').name)\n"
        "assert 'class TqdmHBox' in inspect.getsource(tqdm.notebook)\n"
    )
    assert done.stdout.endswith("notebook.py tqdm.contrib\n")
