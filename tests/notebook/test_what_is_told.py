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
    assert (
        "line 2 uses 'store', which cannot be sent to the ranks: it is a torch.distributed.distributed_c10d.HashStore (it "
        "is a connection of the notebook's process). Make it inside the cell"
        in kernel.run("%%multiproc 2\nstore").evalue
    )
    assert "torch.Generator().manual_seed(seed + rank)" in kernel.run("%%multiproc 1\ngenerator_told;").ok().stderr
