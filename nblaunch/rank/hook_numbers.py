"""Numbers of torch's hooks: none that a rank registers has the number of one that came with a module.

torch counts the hooks of each process from zero. A module that came with hooks of the notebook's has their numbers, and
the first hook of a rank would take the place of the notebook's first.
"""

from __future__ import annotations

import os
from typing import Any

from nblaunch.processes.child.imports import when_imported

__all__ = ["count_hooks_apart"]


def count_hooks_apart() -> None:
    """Let the hooks of this rank have numbers that no other process counts to, and no other rank."""
    when_imported("torch.utils.hooks", _begin_far_away, "numbers of hooks")


def _begin_far_away(module: Any) -> None:
    # at random: what returns to the notebook and comes again has those of an earlier rank
    module.RemovableHandle.next_id = int.from_bytes(os.urandom(5), "big") << 20
