"""What users see of a `Run`."""

from __future__ import annotations

import pydoc
import re

from nblaunch.logs.run_logs import Logs
from nblaunch.runs.attempt import Attempt
from nblaunch.runs.recorder import Recorder
from nblaunch.runs.run import Run

STATE = {
    *("attempts", "captured", "collected", "failures", "logs", "nprocs", "outputs", "refused", "results", "status"),
    *("asking", "defect", "earlier", "elapsed", "ok", "pids", "root_cause", "stacks_at_failure"),
}
CALLED = {"debug", "interrupt", "kill", "raise_for_failures", "signal", "stacks", "stop", "summary", "wait"}


def test_help_and_completion_show_only_what_users_may_call() -> None:
    run = Recorder(2, Logs(None)).run
    assert {name for name in dir(run) if not name.startswith("_")} == STATE | CALLED
    shown = pydoc.plain(pydoc.render_doc(run))
    defined = re.findall(r"^ \|  (?:async )?(\w+)(?: = \w+)?\(.*\)", shown, re.MULTILINE)
    assert {name for name in defined if not name.startswith("_")} == {"Run"} | CALLED
    assert not any(hasattr(Run, name) for name in ("note", "give_up", "leave", "belongs_to", "refused_late", "ordered"))


def test_completion_of_an_attempt_shows_only_what_users_may_read() -> None:
    shown = {name for name in dir(Attempt(0)) if not name.startswith("_")}
    assert shown == {"failures", "logs", "number", "pids", "root_cause", "stacks_at_failure"}
