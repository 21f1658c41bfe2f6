"""Each kind of cases, looked at in the notebook of a real kernel and in ranks of all start methods."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.differential.at_random import compare_at_random
from tests.differential.host import METHODS
from tests.kernel import Kernel

pytestmark = pytest.mark.kernel

KINDS = sorted(path.stem for path in (Path(__file__).parent / "cases").glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("kind", KINDS)
def test_ranks_see_what_the_notebook_sees(kernel: Kernel, kind: str) -> None:
    for method in METHODS:
        reply = kernel.run(f"print('\\n\\n'.join(host().compare_kind({kind!r}, ({method!r},))))").ok()
        assert reply.stdout.strip() == ""


@pytest.mark.timeout(400)
def test_programs_drawn_at_random(kernel: Kernel) -> None:
    assert compare_at_random(kernel, 1000, number=11) == []
