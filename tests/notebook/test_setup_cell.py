"""``%%multiproc --setup``: a cell that runs here, and first in every rank."""

from __future__ import annotations

from collections.abc import Iterator

import IPython
import pytest

from tests.kernel import Kernel

pytestmark = pytest.mark.kernel

MODULE = "LR = 0.1\ndef f(): return 1\n"


@pytest.fixture(autouse=True)
def none_is_left(kernel: Kernel) -> Iterator[None]:
    kernel.quietly(f"open('own_cfg.py', 'w').write({MODULE!r})")
    yield
    kernel.run("%multiproc setup clear").ok()
    kernel.quietly("import sys, os; sys.modules.pop('own_cfg', None); os.remove('own_cfg.py')")


def test_it_runs_here_and_first_in_every_rank(kernel: Kernel) -> None:
    kernel.run("factor = 3").ok()
    reply = kernel.run(
        "%%multiproc --setup\nimport own_cfg\nown_cfg.LR = 0.5 * factor\nold = own_cfg.f\n"
        "own_cfg.f = lambda: old() + 1\n'done'"
    ).ok()
    assert (reply.value, reply.stdout, reply.stderr) == ("'done'", "", "")
    assert kernel.value("(own_cfg.LR, own_cfg.f())") == (1.5, 2)
    kernel.run("factor = 'changed since'").ok()
    for method in ("zygote", "spawn", "fork"):
        kernel.run(f"%%multiproc 2 --start-method {method}\nown_cfg.LR, own_cfg.f(), rank").ok()
        assert kernel.value("results") == {0: (1.5, 2, 0), 1: (1.5, 2, 1)}, method
    kernel.run("import nblaunch\ndef work(): return own_cfg.f()\njob = nblaunch.launch(work, 2)").ok()
    assert kernel.value("job.results") == {0: 2, 1: 2}
    kernel.run("%%multiproc --setup\nown_cfg.LR = 7").ok()
    kernel.run("%%multiproc 1\nimport own_cfg\nown_cfg.LR, own_cfg.f()").ok()
    assert kernel.value("results") == {0: (7, 1)}, "the one before is not run any more"


def test_what_it_binds_is_each_ranks_own_until_the_notebook_binds_it_anew(kernel: Kernel) -> None:
    kernel.run(
        "%%multiproc --setup\nimport os, threading\nme = os.environ.get('RANK', 'here')\nlock = threading.Lock()\n"
        "seen = [1]\nclass Net: pass\nnet = Net()"
    ).ok()
    kernel.run("seen.append(2)\ndef use():\n    with lock: return me, seen").ok()
    kernel.run("%%multiproc 2\nuse(), me, isinstance(net, Net), net").ok()
    assert kernel.value("[value[:3] for value in results.values()]") == [
        (("0", [1, 2]), "0", True),
        (("1", [1, 2]), "1", True),
    ]
    assert kernel.value("[type(value[3]) is Net for value in results.values()]") == [True, True]
    kernel.run("me = 'anew'").ok()
    kernel.run("%%multiproc 1\nuse()[0], me").ok()
    assert kernel.value("results") == {0: ("anew", "anew")}
    kernel.run("lock = threading.Lock()").ok()
    assert kernel.run("%%multiproc 1\nuse()").ename == "CaptureError"


def test_a_class_of_the_notebook_is_changed_once_and_later_changes_count(kernel: Kernel) -> None:
    kernel.run("class Old:\n    def m(self): return 1\nobj = Old()").ok()
    kernel.run("%%multiproc --setup\norig = Old.m\nOld.m = lambda self: orig(self) + 1").ok()
    kernel.run("%%multiproc 1\nobj.m(), Old().m()").ok()
    assert kernel.value("results") == {0: (2, 2)}
    kernel.run("Old.m = lambda self: 77").ok()
    kernel.run("%%multiproc 1\nobj.m(), Old().m()").ok()
    assert kernel.value("results") == {0: (77, 77)}


def test_accessors_and_bars_of_pandas(kernel: Kernel) -> None:
    kernel.run(
        "%%multiproc --setup\nimport pandas as pd\nfrom tqdm import tqdm\ntqdm.pandas(disable=True)\n"
        "@pd.api.extensions.register_dataframe_accessor('twice')\nclass Twice:\n"
        "    def __init__(self, frame): self.frame = frame\n    def n(self): return 2 * len(self.frame)"
    ).ok()
    kernel.run("df = pd.DataFrame({'a': [1, 2]})").ok()
    kernel.run("%%multiproc 1\ndf.twice.n(), df.a.progress_apply(lambda x: x + 1).tolist()").ok()
    assert kernel.value("results") == {0: (4, [2, 3])}


def test_it_is_shown_replaced_and_cleared(kernel: Kernel) -> None:
    none = "There is no set-up cell: one begins with %%multiproc --setup.\n"
    assert kernel.run("%multiproc setup").ok().stdout == none
    first = kernel.run("%%multiproc --setup\na = 1\n").ok()
    assert kernel.run("%multiproc setup").ok().stdout == (
        f"Cell In[{first.count}] runs at the beginning of every rank:\na = 1\n"
    )
    again = kernel.run("%%multiproc --setup\na = 1\n").ok()
    assert again.stdout == ""
    assert kernel.run("%%multiproc --setup\nb = 2").ok().stdout == (
        f"This set-up cell takes the place of that of In[{again.count}]: there is one at a time.\n"
    )
    assert kernel.run("%multiproc setup clear").ok().stdout == (
        f"Ranks do not run the set-up cell In[{again.count + 1}] any more. What it has done here stays until the "
        "kernel is restarted.\n"
    )
    assert kernel.run("%multiproc setup clear").ok().stdout == none
    assert kernel.run("%multiproc setup all").evalue == "%multiproc setup takes nothing, or clear."


@pytest.mark.parametrize("line", ["--setup 4", "4 --setup", "--setup --seed 7", "--setup --out job"])
def test_it_takes_no_ranks_and_no_options(kernel: Kernel, line: str) -> None:
    assert kernel.run(f"%%multiproc {line}\na = 1").evalue == (
        "%%multiproc: --setup goes alone: the cell runs here once, and first in every rank from now on, however many "
        "ranks a later cell has. Nothing was started."
    )


@pytest.mark.skipif(IPython.version_info[0] < 8, reason="IPython 7 names the files of cells")
def test_one_that_fails_here_is_not_run_in_ranks(kernel: Kernel) -> None:
    failed = kernel.run("%%multiproc --setup\nkept = 1\n1 / 0")
    assert (failed.ename, failed.evalue) == ("ZeroDivisionError", "division by zero")
    assert f"Cell In[{failed.count}], line 3" in failed.traceback
    assert "setting_up.py" not in failed.traceback
    assert kernel.run("%%multiproc --setup\nx = (").ename == "SyntaxError"
    assert kernel.run("%%multiproc --setup\nawait nothing()").ename == "SyntaxError"
    kernel.run("numbers = (n for n in [])").ok()
    refused = kernel.run("%%multiproc --setup\nran = True\nnext(numbers, None)")
    assert refused.evalue.startswith("line 3 uses 'numbers', which cannot be sent to the ranks: it is a generator")
    assert kernel.value("'ran' in globals()") is False
    assert kernel.run("%multiproc setup").ok().stdout.startswith("There is no set-up cell")
    kernel.run("%%multiproc 1\n1").ok()


def test_a_failure_of_it_in_a_rank_says_which_cell_it_is(kernel: Kernel) -> None:
    setup = kernel.run(
        "%%multiproc --setup\nimport os\nif 'RANK' in os.environ:\n    raise ValueError('only there')"
    ).ok()
    failed = kernel.run("%%multiproc 2\n1")
    assert failed.ename == "RanksFailed"
    assert f"Cell In[{setup.count}], line 4" in failed.traceback
    assert "ValueError: only there" in failed.traceback
    # Python 3.10 shows no notes
    assert kernel.value("[e.exception.__notes__ for e in failures.values()]") == [
        [f"This is the set-up cell In[{setup.count}], which every rank runs first (%multiproc setup)."]
    ] * kernel.value("len(failures)")


def test_variables_whose_names_are_no_texts_are_nobodys_concern(kernel: Kernel) -> None:
    kernel.run("globals()[5] = 1; globals()[('a', 'b')] = 2; globals()[None] = 3").ok()
    try:
        kernel.run("%%multiproc --setup\nglobals()[6] = 4\nscale = 7").ok()
        kernel.run("%%multiproc 1\nscale").ok()
        assert kernel.value("results") == {0: 7}
        kernel.run("%%multiproc 1\nmade_here = 1").ok()
        reply = kernel.run("%%multiproc 1\neval('made_' + 'here')")
        assert "'made_here' was a variable of the ranks of cell" in reply.traceback
        kernel.run("import nblaunch\ndef work(): return eval('sca' + 'le')\njob = nblaunch.launch(work, 1)").ok()
        kernel.run("%multiproc doctor").ok()
    finally:
        kernel.quietly("[globals().pop(key, None) for key in (5, 6, ('a', 'b'), None)]")
