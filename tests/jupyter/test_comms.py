"""What the kernel says of itself while pages talk to a panel; with real kernels, the browser tests see to it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.events import EventManager, available_events

from nblaunch.jupyter import comms, input_box
from nblaunch.jupyter.comms import keep_busy

PARENT = {"content": {"silent": False}}


class Kernel:
    """What `keep_busy` needs of a kernel; `said` is what it has published."""

    def __init__(self, parent: dict[str, Any]) -> None:
        self.said: list[object] = []
        self._parent = parent

    def get_parent(self, channel: str) -> dict[str, Any]:
        assert channel == "shell"
        return self._parent

    def _publish_status(self, status: str, channel: str, parent: object) -> None:
        self.said.append((status, channel, parent))


def shell_of(monkeypatch: pytest.MonkeyPatch, kernel: object) -> Any:
    shell = SimpleNamespace(kernel=kernel)
    shell.events = EventManager(shell, available_events)
    for module in (comms, input_box):
        monkeypatch.setattr(module, "current_shell", lambda: shell)
    return shell


def run_cell_async(kernel: Kernel) -> list[object]:
    """Take a message of a page, as the kernel does."""
    renew = keep_busy()

    async def take() -> None:
        renew()
        kernel.said.append("idle")

    async def loop() -> None:
        await asyncio.create_task(take())
        await asyncio.sleep(0)

    asyncio.run(loop())
    return kernel.said


@pytest.fixture
def in_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comms, "_runs_in_cell", lambda: True)


@pytest.mark.usefixtures("in_cell")
def test_the_kernel_says_that_it_is_busy_behind_the_idle_of_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(PARENT)
    shell_of(monkeypatch, kernel)
    assert run_cell_async(kernel) == ["idle", ("busy", "shell", PARENT)]


@pytest.mark.usefixtures("in_cell")
def test_nothing_is_said_when_the_cell_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(PARENT)
    shell = shell_of(monkeypatch, kernel)
    renew = keep_busy()
    shell.events.trigger("post_run_cell", None)
    assert shell.events.callbacks["post_run_cell"] == []

    async def take() -> None:
        renew()
        await asyncio.sleep(0)

    asyncio.run(take())
    renew()  # where no loop runs, there is no message either
    assert kernel.said == []


@pytest.mark.usefixtures("in_cell")
@pytest.mark.parametrize("kernel", [Kernel({"content": {"silent": True}}), SimpleNamespace(), None])
def test_other_kernels_are_left_alone(monkeypatch: pytest.MonkeyPatch, kernel: object) -> None:
    shell = shell_of(monkeypatch, kernel)
    keep_busy()()
    assert shell.events.callbacks["post_run_cell"] == []


def test_nothing_is_said_where_no_cell_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(PARENT)
    shell_of(monkeypatch, kernel)
    assert run_cell_async(kernel) == ["idle"]
