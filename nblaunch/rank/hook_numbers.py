"""Numbers of torch's hooks: a hook that a rank registers replaces none that came with a module from the notebook.

torch numbers the hooks of each process from zero, and a module keeps its hooks by these numbers. Without this, the
first hook that a rank registers would have the number of the first one of the notebook, and replace it.
"""

from __future__ import annotations

import os
from typing import Any

from nblaunch.processes.child.imports import when_imported

__all__ = ["separate_hook_numbers"]


def separate_hook_numbers() -> None:
    """Have torch number the hooks of this rank from a large random number on."""
    when_imported("torch.utils.hooks", _set_first_number, "numbers of hooks")


def _set_first_number(module: Any) -> None:
    # random, because a module that a rank returns may be sent to later ranks, with the hooks of the earlier rank
    module.RemovableHandle.next_id = int.from_bytes(os.urandom(5), "big") << 20
