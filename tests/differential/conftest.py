"""A kernel for each module of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.differential.kernels import kernel_that_compares
from tests.kernel import Kernel


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    """A kernel that compares, the same for all tests of a module."""
    with kernel_that_compares() as kernel:
        yield kernel
