"""Training with other libraries in ranks. The extra ``frameworks`` has them; without, these tests are skipped."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

__all__ = ["need"]


def need(*modules: str) -> None:
    """Skip the test unless these modules are installed; only kernels and ranks import them."""
    for name in modules:
        if find_spec(name) is None:
            pytest.skip(f"needs {name}: pip install nblaunch[frameworks]")
