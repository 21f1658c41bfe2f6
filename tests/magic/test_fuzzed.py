"""Any text behind ``%%multiproc`` is a launch or a refusal in one sentence; none of these tests starts a rank."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

from nblaunch.engines.base import Plan
from nblaunch.engines.local import LocalEngine
from nblaunch.engines.local_ranks import LocalRanks
from nblaunch.events import Ended, Event, Exited, Finished, LastWord, Launched, Started
from nblaunch.logs.reader import LocalLogs
from nblaunch.magic.multiproc import Multiproc
from nblaunch.messages.work import VALUE
from nblaunch.payload import pack_named
from nblaunch.processes.starting.base import UNPREPARED
from nblaunch.runs.failures import RanksFailed


class _Pretended(LocalRanks):
    """Ranks that return at once what they were asked to."""

    def start(self) -> None:
        plan, now = self._plan, time.monotonic()
        # what a rank would be started with is encoded as it would be then
        for name, value in plan.env.items():
            os.fsencode(name), os.fsencode(value)
        self._reader = LocalLogs("", dict.fromkeys(range(plan.nprocs), ("", "")))
        self._on_event(Launched(plan.nprocs, now))
        body = bytearray(bytes(pack_named({VALUE: 1})))
        for rank in range(min(plan.nprocs, 3)):
            self._on_event(Started(rank, 100 + rank, now))
            self._on_event(Finished(rank, body, now))
            self._on_event(Exited(rank, 0, LastWord.VALUE, False, now))
        self._on_event(Ended(now))


class _Engine(LocalEngine):
    """The engine for this machine, with all that it checks, but for the start."""

    def prepare(self, plan: Plan, on_event: Callable[[Event], None]) -> LocalRanks:
        super().prepare(plan, on_event)
        plans.append(plan)
        return _Pretended(plan, UNPREPARED, on_event)


plans: list[Plan] = []


@pytest.fixture(scope="module")
def shell() -> Iterator[InteractiveShell]:
    made = InteractiveShell()
    yield made
    InteractiveShell.clear_instance()


@pytest.fixture
def magics(shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Multiproc]:
    monkeypatch.chdir(tmp_path)
    made = Multiproc(shell)
    shell.register_magics(made)
    monkeypatch.setattr(made, "_engine", lambda: _Engine())
    monkeypatch.setattr(made, "_make_zygote", lambda: None)
    names = set(shell.user_ns)
    yield made
    made.last_run = None
    for name in set(shell.user_ns) - names:
        del shell.user_ns[name]
    shell.configurables.remove(made)


OPTIONS = [
    "--out", "--collect", "--capture", "--no-capture", "--env", "--timeout", "--grace", "--on-failure",
    "--start-method", "--log-dir", "--seed", "--threads", "--show-ranks", "--quiet", "--no-panel", "--no-raise",
]  # fmt: skip
odd = st.sampled_from(
    ["", "''", '"', "\\", "\x00", "a\x00b", "-", "--", "---", "-h", "--help", "-1", "9" * 5000, "٣", "1e999", "nan",
     "inf", "-0", "0", "1_000", "\ud800", "=", "A=", "=b", "A=b=c", "x", "class", "a,b", "0-9999999", "3-1", "/",
     "/dev/null", "/dev/null/x", "\x85", "\u2028", "'a\u2028b'", "é", "$HOME", "%s", "{x}", "{0}", "%(prog)s", "@file",
     "#", "~", "RANK=1", "A\x00=1", "A=\x00", "\ud800=1"]
)  # fmt: skip
words = st.one_of(
    st.sampled_from(OPTIONS),
    st.sampled_from(OPTIONS).map(lambda option: option[:-2]),
    st.builds("{}={}".format, st.sampled_from(OPTIONS), st.text(max_size=4) | odd),
    st.integers(-2, 12).map(str),
    st.sampled_from(["stop", "continue", "zygote", "fork", "a,b", "loss"]),
    odd,
    st.text(st.characters(exclude_characters="\r\n"), max_size=6),
)
lines = st.lists(words, max_size=6).map(" ".join)
commands = st.builds("{} {}".format, st.sampled_from(["doctor", "preload", "preloads", "stop", ""]), lines)
EXHAUSTIVE = settings(
    max_examples=400,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@EXHAUSTIVE
@given(line=lines)
def test_any_line_is_a_launch_or_a_refusal(magics: Multiproc, line: str) -> None:
    plans.clear()
    said = io.StringIO()
    space: dict[str, Any] = magics.shell.user_ns
    for name in ("results", "failures"):
        space.pop(name, None)
    before = set(space)
    try:
        with redirect_stdout(said), redirect_stderr(said):
            magics.multiproc(f"{line} --no-raise" if line.isascii() and "--no-raise" not in line else line, "1")
    except UsageError as error:
        message = str(error)
        assert message.startswith("%%multiproc: ")
        assert message.endswith(" Nothing was started.")
        assert message.isprintable()
        assert len(message) < 1000
        assert set(space) == before
        assert not plans, "it was refused after all had been made ready"
    except RanksFailed:
        assert len(plans) == 1, "there are more ranks than are pretended"
    else:
        assert len(plans) == 1
        assert set(space) > before or magics.last_run in space.values()


@EXHAUSTIVE
@given(line=commands)
def test_any_command_is_done_or_refused(magics: Multiproc, line: str) -> None:
    said = io.StringIO()
    before = list(magics.preload)
    try:
        with redirect_stdout(said), redirect_stderr(said):
            magics.command(line)
    except UsageError as error:
        message = str(error)
        assert message.startswith("%multiproc")
        assert message.isprintable()
        assert len(message) < 1000
        assert magics.preload == before
    else:
        assert said.getvalue()
    finally:
        magics.preload = []
