"""What a cell is told of objects that will not mean in the ranks what they mean in the notebook."""

from __future__ import annotations

import pytest

from tests.kernel import Kernel

pytestmark = pytest.mark.kernel


def test_a_captured_random_generator_is_told_once(kernel: Kernel) -> None:
    kernel.run(
        "import random\nimport numpy as np\n"
        "rng_told = np.random.default_rng(0); held_told = {'r': random.Random(3)}\n"
        "old_told = np.random.RandomState(1)\n"
        "def draw_told(): return rng_told.random()"
    ).ok()
    kernel.run("%%multiproc 2\nrng_told.random()")
    reply = kernel.run("%%multiproc 2\nrng_told.random(), held_told, old_told")
    assert reply.ok().stderr == (
        "'held_told' holds a random generator, and every rank gets a copy of it, which gives the same numbers in all "
        "of them. For numbers that differ, write random.Random(seed + rank) in the cell.\n"
        "'old_told' is a random generator, and every rank gets a copy of it, which gives the same numbers in all "
        "of them. For numbers that differ, write numpy.random.RandomState(seed + rank) in the cell.\n"
    )
    assert kernel.run("%%multiproc 2\ndraw_told()").ok().stderr == (
        "'draw_told' holds a random generator, and every rank gets a copy of it, which gives the same numbers in all "
        "of them. For numbers that differ, write generator.spawn(world_size)[rank] in the cell.\n"
    )
    # what is written instead does what is said
    kernel.run("%%multiproc 2\nrng_told.spawn(world_size)[rank].random()").ok()
    assert kernel.value("results[0] != results[1]")


def test_functions_of_the_random_modules_draw_from_the_ranks_own(kernel: Kernel) -> None:
    kernel.run("from random import random, randint\nfrom numpy.random import rand\nimport random as module").ok()
    reply = kernel.run("%%multiproc 2\nrandom(), randint(0, 10**9), float(rand()), module.random()").ok()
    assert reply.stderr == ""
    assert kernel.value("[a != b for a, b in zip(results[0], results[1])]") == [True] * 4


def test_what_belongs_to_one_process_is_refused(kernel: Kernel) -> None:
    kernel.run(
        "import sys, types\n"
        "module = types.ModuleType('accelerate.accelerator')\n"
        "exec('class Accelerator:\\n    pass', vars(module))\n"
        "module.Accelerator.__module__ = 'accelerate.accelerator'; sys.modules['accelerate.accelerator'] = module\n"
        "class Run:\n    def __init__(self): self.accelerator = module.Accelerator()\n"
        "run = Run()"
    ).ok()
    reply = kernel.run("%%multiproc 2\nprint(run)")
    assert (
        "run.accelerator is an accelerate.accelerator.Accelerator (it holds that there is one process" in reply.evalue
    )
    assert "Make it inside the cell: there it finds the other ranks." in reply.evalue
    kernel.run("del sys.modules['accelerate.accelerator']").ok()


@pytest.mark.torch
def test_what_only_the_notebook_is_connected_to_is_refused(kernel: Kernel) -> None:
    kernel.run(
        "import torch, torch.distributed as dist\nstore = dist.HashStore(); generator_told = torch.Generator()"
    ).ok()
    assert "HashStore (it is a connection of the notebook's process). Make it inside the cell" in (
        kernel.run("%%multiproc 2\nstore").evalue
    )
    assert "torch.Generator().manual_seed(seed + rank)" in kernel.run("%%multiproc 1\ngenerator_told;").ok().stderr


def test_names_in_texts_come_along(kernel: Kernel) -> None:
    kernel.run(
        "import pandas as pd\ndf = pd.DataFrame({'a': [1, 2, 3]}); k, low, table = 1, 0, [4]\n"
        "def above(frame): return [len(f) for f in (frame.query('a > @k'), frame[frame.eval('a > @k')])]\n"
        "class Base:\n    def sql(self, text): return text\n"
        "base = Base()"
    ).ok()
    kernel.run(
        "%%multiproc 2\n"
        "base.sql('select * from table')\n"
        "(len(df.query('a > @k')), len(df.query(f'a > @k and a > {low}')), above(df), eval('k + 1'), table[0])"
    ).ok()
    assert kernel.value("results") == dict.fromkeys((0, 1), (2, 2, [2, 2], 2, 4))


def test_variables_of_the_main_module_come_along(kernel: Kernel) -> None:
    kernel.run(
        "k, lock = 7, __import__('threading').Lock()\n"
        "def attribute():\n    import __main__\n    return __main__.k\n"
        "def imported():\n    from __main__ import k as other\n    return other"
    ).ok()
    kernel.run(
        "%%multiproc 1\nimport sys, __main__ as m\nfrom __main__ import k as other\n"
        "m.k, other, sys.modules['__main__'].k, get_ipython().user_ns['k'], attribute(), imported()"
    ).ok()
    assert kernel.value("results") == {0: (7,) * 6}
    reply = kernel.run("%%multiproc 1\nfrom __main__ import lock")
    assert "'lock' is a variable of the notebook" in reply.traceback


@pytest.mark.parametrize(
    "code",
    [
        "text = 'hidden_one + 1'\neval(text)",
        "text = 'a > @' + 'hidden_one'\nimport pandas as pd\npd.DataFrame({'a': [1]}).query(text)",
        "raise RuntimeError('Catalog Error: Table with name hidden_one does not exist!')",
        "text = 'hidden_one'\ntry: eval(text)\nexcept NameError as error: raise ValueError('formula') from error",
        "import pickle\npickle.loads(b'\\x80\\x04\\x8c\\x08__main__\\x8c\\nhidden_one\\x93.')",
    ],
    ids=["eval", "query", "sql", "formula", "pickle"],
)
def test_a_variable_of_the_notebook_that_did_not_travel_is_named(kernel: Kernel, code: str) -> None:
    kernel.run("hidden_one = 1").ok()
    reply = kernel.run(f"%%multiproc 2 --out job\n{code}")
    hint = (
        "'hidden_one' is a variable of the notebook that the cell does not name, so the ranks do not have it: add "
        "--capture hidden_one to the %%multiproc line"
    )
    assert reply.status == "error"
    assert hint in reply.traceback
    assert hint in kernel.value("job.failures[0].exception.__notes__")
    assert hint in kernel.value("job.failures[0].traceback")


def test_a_variable_as_the_number_of_ranks(kernel: Kernel) -> None:
    kernel.run("N = 2").ok()
    assert kernel.run("%%multiproc N\nrank").evalue == (
        "%%multiproc: the number of ranks: it takes a whole number of at least 1, not 'N'; to take the value of N "
        "write {N}. Nothing was started."
    )
    kernel.run("%%multiproc {N}\nrank").ok()
    assert kernel.value("results") == {0: 0, 1: 1}


def test_seeds_that_the_page_names_differ_by_rank_and_repeat_by_run(kernel: Kernel) -> None:
    kernel.run("import numpy as np, random").ok()
    seen = []
    for _ in range(2):
        kernel.run(
            "%%multiproc 2 --seed 7\n"
            "float(np.random.default_rng([7, rank]).random()), random.Random(7 + rank).random(), random.random(),"
            " float(np.random.rand()), float(np.random.default_rng().random()), random.Random().random()"
        ).ok()
        seen.append(kernel.value("results"))
    first, second = seen
    assert [first[r][:5] for r in (0, 1)] == [second[r][:5] for r in (0, 1)]
    assert all(a != b for a, b in zip(first[0], first[1], strict=True))
    # which takes entropy of the system, as the page says
    assert first[0][5] != second[0][5]


def test_a_magic_that_only_the_notebook_has(kernel: Kernel) -> None:
    kernel.run(
        "from IPython.core.magic import Magics, line_magic, magics_class, register_line_magic\n"
        "@register_line_magic\ndef registered_here(line): return line\n"
        "@magics_class\nclass Ours(Magics):\n    @line_magic\n    def of_a_class(self, line): return line\n"
        "get_ipython().register_magics(Ours)\n"
        "get_ipython().register_magic_function(lambda line: line, 'line', 'a_lambda')\n"
        "%load_ext autoreload\n%alias_magic lst lsmagic"
    ).ok()
    for name in ("registered_here", "of_a_class", "a_lambda", "autoreload", "lst"):
        reply = kernel.run(f"%%multiproc 1\n%{name} 0")
        assert f"'%{name}' is a magic of the notebook, and magics are not sent to the ranks" in reply.traceback
    assert "is a magic of" not in kernel.run("%%multiproc 1\n%no_such_magic").traceback
