"""What ranks had to import is imported ahead of the next run."""

from __future__ import annotations

import pytest

from tests.kernel import Kernel

pytestmark = [pytest.mark.kernel, pytest.mark.torch]

FRESH = "import sys\nearly = 'torch._dynamo' in sys.modules\nimport torch\n"
OPTIMIZER = f"{FRESH}torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)\nearly"


def test_an_optimizer_of_torch(kernel: Kernel) -> None:
    pytest.importorskip("torch")
    kernel.run("import torch").ok()
    kernel.run(f"%%multiproc 2\n{OPTIMIZER}").ok()
    assert kernel.value("results") == {0: False, 1: False}
    [told] = [line for line in kernel.run("%multiproc doctor").ok().stdout.splitlines() if line.startswith("learnt ")]
    assert "torch._dynamo, " in told
    assert told.endswith(": ranks had to import that, and so it is imported ahead")
    # until the zygote has it
    for _ in range(60):
        kernel.run(f"%%multiproc 2\n{OPTIMIZER}").ok()
        if kernel.value("results") == {0: True, 1: True}:
            return
        kernel.run("import time; time.sleep(0.5)").ok()
    pytest.fail("it is not imported ahead")
