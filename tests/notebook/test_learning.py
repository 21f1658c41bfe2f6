"""What ranks had to import is imported ahead of the next run, and what they are known to import ahead of the first."""

from __future__ import annotations

import pytest

from tests.kernel import Kernel

pytestmark = [pytest.mark.kernel]

FRESH = "import sys\nearly = {module!r} in sys.modules\n"


def test_what_a_cell_had_to_import(kernel: Kernel) -> None:
    pytest.importorskip("scipy")
    cell = f"{FRESH.format(module='scipy.stats')}import scipy.stats\nscipy.stats.norm.cdf(0)\nearly"
    kernel.run("import scipy").ok()
    kernel.run(f"%%multiproc 2\n{cell}").ok()
    assert kernel.value("results") == {0: False, 1: False}
    [told] = [line for line in kernel.run("%multiproc doctor").ok().stdout.splitlines() if line.startswith("learnt ")]
    assert "scipy.stats" in told
    assert told.endswith(": ranks had to import that, and so it is imported ahead")
    # until the zygote has it
    for _ in range(60):
        kernel.run(f"%%multiproc 2\n{cell}").ok()
        if kernel.value("results") == {0: True, 1: True}:
            return
        kernel.run("import time; time.sleep(0.5)").ok()
    pytest.fail("it is not imported ahead")


@pytest.mark.torch
def test_an_optimizer_of_torch_is_known_to_import_more(kernel: Kernel) -> None:
    pytest.importorskip("torch")
    kernel.run("import torch").ok()
    cell = f"{FRESH.format(module='torch._dynamo')}torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)\nearly"
    kernel.run(f"%%multiproc 2\n{cell}").ok()
    assert kernel.value("results") == {0: True, 1: True}
