"""Interrupts that hit a finalizer, where the interpreter would lose them."""

from __future__ import annotations

import signal
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from nblaunch.engines.base import Plan, Ranks
from nblaunch.engines.local import LocalEngine
from nblaunch.interrupts import lost_interrupts_repeated
from nblaunch.launching import launch
from nblaunch.notebook import Notebook


class _Interrupted:
    """Interrupts the main thread while that finalizes it."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def _interrupt_in_a_callback() -> None:
    kept = _Subject()
    reference = weakref.ref(kept, lambda _: signal.raise_signal(signal.SIGINT))
    del kept
    assert reference() is None


class _Subject:
    pass


@pytest.mark.parametrize("lose", [_Interrupted, _interrupt_in_a_callback], ids=["__del__", "weakref"])
def test_a_lost_interrupt_comes_again(lose: Callable[[], object]) -> None:
    hook = sys.unraisablehook
    with pytest.raises(KeyboardInterrupt), lost_interrupts_repeated():
        lose()
        threading.Event().wait(60)
        pytest.fail("it was lost")
    assert sys.unraisablehook is hook


def test_other_exceptions_of_finalizers_are_told_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)

    class Broken:
        def __del__(self) -> None:
            raise ValueError("broken")

    with lost_interrupts_repeated():
        Broken()
    assert [hooked.exc_type for hooked in told] == [ValueError]


def test_a_hook_that_was_set_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    with lost_interrupts_repeated():
        sys.unraisablehook = later = lambda _: None
    assert sys.unraisablehook is later


class _InterruptedEngine(LocalEngine):
    """Has an interrupt come in a finalizer at the moment when all ranks are started."""

    def prepare(self, plan: Plan, on_event: Callable[[Any], None]) -> Any:
        ranks: Ranks = super().prepare(plan, on_event)
        start = ranks.start

        def start_and_lose() -> None:
            start()
            _Interrupted()

        ranks.start = start_and_lose  # type: ignore[method-assign]
        return ranks


def test_a_launch_hears_an_interrupt_that_hits_a_finalizer() -> None:
    with pytest.raises(KeyboardInterrupt):
        launch(
            "import threading\nthreading.Event().wait()",
            2,
            engine=_InterruptedEngine(),
            notebook=Notebook({}),
            start_method="fork",
            panel="none",
        )
