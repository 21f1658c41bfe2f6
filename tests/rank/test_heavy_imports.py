"""What a rank tells of its imports, and what the zygote makes of it."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from nblaunch.processes.starting import preloads
from nblaunch.processes.starting.preloads import learn, learnt, safe_modules
from nblaunch.rank.heavy_imports import heavy_imports


def test_names_that_have_brought_many_along(monkeypatch: pytest.MonkeyPatch) -> None:
    before = frozenset([*sys.modules, "known"])
    for name in (
        *("known._lazy", *(f"known._lazy.part{number}" for number in range(25))),
        *(
            "whole",
            *(f"whole.a.part{number}" for number in range(15)),
            *(f"whole.b.part{number}" for number in range(15)),
        ),
        *("small", *(f"small.part{number}" for number in range(5))),
    ):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    assert heavy_imports(before) == ["known._lazy", "whole"]
    assert heavy_imports(frozenset(sys.modules)) == []


def test_only_what_is_known_to_be_safe_is_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preloads, "SAFE", frozenset({"numpy"}))
    learn(["numpy._later", "unknown.part", "numpy.no name", "jax"])
    assert learnt() == ["numpy._later"]
    assert "numpy._later" in safe_modules()
