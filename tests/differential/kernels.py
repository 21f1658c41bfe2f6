"""Kernels that compare what their notebook sees with what ranks see."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kernel import Kernel

__all__ = ["kernel_that_compares"]

_ROOT = Path(__file__).parent.parent.parent


@contextmanager
def kernel_that_compares() -> Iterator[Kernel]:
    """Start a kernel that has `host`, and can import the cases; it ends with the block."""
    with Kernel() as kernel:
        kernel.run("%load_ext nblaunch").ok()
        kernel.run(f"import sys; sys.path.insert(0, {str(_ROOT)!r})").ok()
        kernel.run("from tests.differential.host import host\nfrom tests.differential.case import parse").ok()
        yield kernel
