"""Follows a cell on its way, and hits its processes from outside where they say that they are."""

from __future__ import annotations

import time
from random import Random

from tests.chaos.case import Case
from tests.chaos.faults import Outside
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
        self._waiting = [(act, blow.victim) for blow in case.blows for act in blow.outside if act.when != "before"]
        self._due: list[tuple[float, Outside, int]] = []
        self._hit: dict[int, str] = {}
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
            if kernel.poll() is not None:
                if not self._case.kills_the_kernel():
                    raise Hang(f"the kernel has died: {kernel.returncode}")
                break
            if cell.begun:
                self._reached("sent", None, 0)
            if "begun" in cell.streams["stdout"]:
                self._reached("begun", None, 0)
            for told in self._notebook.listen(self._time_left(deadline)):
                if told["run"] == self._case.token:
                    self._reached(told["what"], told["rank"], told["pid"])
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
        nearest = min([deadline, *(at for at, _, _ in self._due)])
        # not longer: the end of a kernel that was killed sends no message
        return min(0.5, max(0.0, nearest - time.monotonic()) + 0.0005)

    def _reached(self, what: str, rank: int | None, pid: int) -> None:
        for act, victim in list(self._waiting):
            if act.when == what and victim in (None, rank):
                self._waiting.remove((act, victim))
                self._due.append((time.monotonic() + act.delay, act, pid))

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
