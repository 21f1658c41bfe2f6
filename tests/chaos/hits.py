"""Follows a cell on its way, and hits its processes from outside where they say that they are."""

from __future__ import annotations

import re
import time
from collections import Counter
from random import Random
from typing import Any

from tests.chaos.blows import Outside
from tests.chaos.case import Case
from tests.chaos.inside import ANSWER
from tests.chaos.notebook import Notebook
from tests.chaos.processes import Watcher, end
from tests.kernel import Execution

__all__ = ["Hang", "Hits"]


class Hang(Exception):
    """Something did not end that should have."""


class Hits:
    """Follows one cell to its end, and hits from outside on the way."""

    def __init__(self, case: Case, notebook: Notebook, watcher: Watcher) -> None:
        self._case = case
        self._notebook = notebook
        self._watcher = watcher
        self._random = Random(case.token)
        # what the driver waits for: an act, and the rank that has to announce it, if it is one
        self._waiting = [(act, blow) for blow in case.blows for act in blow.outside if act.when != "before"]
        self._due: list[tuple[float, Outside, int]] = []
        self._hit: dict[int, str] = {}
        # questions that are to be answered, and when; how many each debugger has put so far
        self._answers: list[tuple[float, dict[str, Any]]] = []
        self._commands: Counter[str] = Counter()
        self._said_before = len(notebook.kernel.log)

    def before(self) -> None:
        """Do what is to be done before the cell is sent."""
        for blow in self._case.blows:
            for act in blow.outside:
                pid = self._chosen(act.target) if act.when == "before" else -1
                if pid > 0:
                    # gone before the cell is sent: so it costs no rank
                    end(pid, act.signal, wait=True)

    def follow(self, cell: Execution, patience: float) -> dict[int, str]:
        """Return when the kernel has answered, or is gone, which signal each process was sent."""
        deadline = time.monotonic() + patience
        kernel = self._notebook.kernel.process
        while not (cell.idle and cell.reply is not None):
            now = time.monotonic()
            if now > deadline:
                raise Hang(f"the cell did not end within {patience:.0f} s")
            for one in [one for one in self._due if one[0] <= now]:
                self._due.remove(one)
                self._act(one[1], one[2])
            if self.met_ipython(cell):
                break
            self._answer(cell, now)
            if kernel.poll() is not None:
                if not self._case.kills_the_kernel():
                    raise Hang(f"the kernel has died: {kernel.returncode}")
                break
            if cell.begun:
                self._reached("sent")
            if "begun" in cell.streams["stdout"]:
                self._reached("begun")
            for told in self._notebook.listen(self._time_left(deadline)):
                if told["run"] == self._case.token:
                    self._reached(told["what"], told)
        return self._hit

    def met_ipython(self, cell: Execution) -> bool:
        """Tell whether an interrupt came after the end of the run: ipykernel may then leave the cell unanswered."""
        return (
            self._case.ends_by_interrupt()
            and cell.idle
            and cell.reply is None
            and "KeyboardInterrupt caught in kernel" in self._notebook.kernel.log[self._said_before :]
        )

    def _time_left(self, deadline: float) -> float:
        nearest = min([deadline, *(at for at, _, _ in self._due), *(at for at, _ in self._answers)])
        # not longer: the end of a kernel that was killed sends no message
        return min(0.5, max(0.0, nearest - time.monotonic()) + 0.0005)

    def _reached(self, what: str, told: dict[str, Any] | None = None) -> None:
        for act, blow in list(self._waiting):
            there = told is None or (blow.victim in (None, told["rank"]) and blow.attempt in (None, told["attempt"]))
            if act.when == what and there:
                self._waiting.remove((act, blow))
                self._due.append((time.monotonic() + act.delay, act, told["pid"] if told else 0))

    def _answer(self, cell: Execution, now: float) -> None:
        """Answer what ranks ask, as somebody at a notebook does, or does not."""
        while cell.questions:
            question = cell.questions.pop(0)
            if self._case.client in ("answers", "late"):
                late = self._random.uniform(0.05, 0.4) if self._case.client == "late" else 0.0
                self._answers.append((now + late, question))
        for at, question in list(self._answers):
            if at <= now:
                self._answers.remove((at, question))
                self._notebook.kernel.reply(question, self._line(question["content"]["prompt"]))

    def _line(self, prompt: str) -> str:
        if re.fullmatch(r"rank \d+: (what\? )?", prompt):
            return ANSWER
        script = self._case.script
        self._commands[prompt] += 1
        return script[min(self._commands[prompt], len(script)) - 1]

    def _act(self, act: Outside, pid: int) -> None:
        if act.target == "interrupt":
            self._notebook.kernel.interrupt()
            return
        if act.target == "kernel":
            self._notebook.kernel.process.kill()
            return
        if act.target != "victim":
            pid = self._chosen(act.target)
        if pid > 0 and end(pid, act.signal):
            self._hit[pid] = act.signal

    def _chosen(self, target: str) -> int:
        below = self._watcher.below(self._notebook.pid)
        names = {"zygote": "nblaunch-zygote", "forkserver": "nblaunch-forks", "spare": "nblaunch-spare"}
        if target in names:
            found = [one.pid for one in below if one.name == names[target]]
        else:
            found = [one.pid for one in below if one.name not in ("nblaunch-zygote", "nblaunch-forks")]
        return self._random.choice(sorted(found)) if found else -1
