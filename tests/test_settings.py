"""`nblaunch.settings`: what cannot be chosen is told, and what comes later is chosen later."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from nblaunch.settings import changed_settings, choose_settings


def test_what_cannot_be_chosen_is_told() -> None:
    told: list[str] = []

    def now(name: str, change: Callable[[ModuleType], object], _: str) -> None:
        change(sys.modules[name])

    choose_settings({"locale": {"LC_TIME": "xx_XX.nothing"}}, now, lambda name, error: told.append(f"{name}: {error}"))

    assert told == ["locale: unsupported locale setting"]


def test_each_part_of_the_filters_waits_for_its_library() -> None:
    waiting: list[tuple[str, str]] = []
    filters = [
        ("error", None, "builtins.UserWarning", None, 0),
        ("ignore", ("no", 2), "some_library.errors.Odd", None, 0),
    ]

    choose_settings(
        {"warnings.filters": filters},
        lambda name, change, purpose: waiting.append((name, purpose)),
        lambda name, error: pytest.fail(name),
    )

    assert waiting == [("warnings", "warnings.filters"), ("some_library.errors", "warnings.filters")]


def test_a_library_of_another_version_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", ModuleType("sklearn"))

    assert "sklearn.config" not in changed_settings()
