"""Drives chaotic runs, one after the other, in a real kernel, and checks each of them.

::

    seed, number ─► Case ─► cell ─► kernel ─► ranks ─► "I am here" ─► signals from outside
                                       └─► what came of it ─► judge ─► objections
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable

from tests.chaos.case import Case, draw
from tests.chaos.hits import Hang, Hits
from tests.chaos.judge import objections
from tests.chaos.notebook import Notebook
from tests.chaos.processes import Watcher, end, marked
from tests.shared_memory import PLACE, left_by_us, present

__all__ = ["ChaosError", "Driver"]

# Seconds; what takes longer hangs. Nothing here is to be fast: these runs share the processors with others.
PATIENCE = 60.0
# Descriptors that kernels open and close as they like.
_SLACK = 2
_NEXT = "%%multiproc 2 --no-panel\nrank + 40"


class ChaosError(AssertionError):
    """A run was not as it has to be."""


class Driver:
    """Runs cases by number; `close` it.

    Parameters
    ----------
    seed : int
        What all runs are drawn from.
    say : callable
        Gets a line for each run.
    """

    def __init__(self, seed: int, say: Callable[[str], object] = lambda line: None) -> None:
        self.seed = seed
        self.counts: Counter[tuple[str, str]] = Counter()
        self.forms: Counter[str] = Counter()
        self.endings: Counter[str] = Counter()
        # of runs that may start again
        self.attempts: Counter[int] = Counter()
        self.runs = 0
        self.longest_farewell = 0.0
        self._say = say
        self._watcher = Watcher()
        self._notebook: Notebook | None = None
        self._memory = present()

    def close(self) -> None:
        """End the kernel."""
        if self._notebook is not None:
            self._notebook.close()
            self._notebook = None
        self._watcher.close()

    def run(self, numbers: Iterable[int], seconds: float | None = None) -> None:
        """Run these cases, or as many of them as begin within some seconds.

        Raises
        ------
        ChaosError
            If something does not hold.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        for number in numbers:
            if deadline is not None and time.monotonic() > deadline:
                return
            self.run_one(draw(self.seed, number))

    def run_one(self, case: Case) -> None:
        """Run one case and check it.

        Raises
        ------
        ChaosError
            See `run`.
        """
        notebook = self._notebook = self._notebook or Notebook()
        began = time.monotonic()
        try:
            found = self._drive(case, notebook)
        except (Hang, AssertionError) as error:
            found = [f"{type(error).__name__}: {error}"]
        if found:
            text = self._explained(case, found, notebook)
            notebook.close()
            self._notebook = None
            left, _ = self._watcher.wait_until_gone(-1, PATIENCE / 4, helpers=True)
            for one in left:  # or the next run would be blamed
                end(one.pid)
            raise ChaosError(text)
        self.runs += 1
        self.forms.update((case.method, case.form, f"{case.nprocs} ranks"))
        self.forms["beside another run"] += case.beside
        self.forms["--max-restarts"] += case.restarts > 0
        self.forms[f"panel {case.panel}"] += 1
        self.forms["--pdb"] += case.holds()
        self.forms["--stall or --straggler"] += case.stall is not None or case.straggler is not None
        for blow in case.blows:
            self.counts[blow.fault, blow.moment] += 1
        faults = " + ".join(f"{blow.fault} ({blow.moment})" for blow in case.blows)
        self._say(f"{case.number}: {case.method}, {case.form}: {faults}: {time.monotonic() - began:.2f} s")

    # ---- one run

    def _drive(self, case: Case, notebook: Notebook) -> list[str]:
        kernel = notebook.kernel
        kernel.quietly(case.setup)
        hits = Hits(case, notebook, self._watcher)
        hits.before()
        cell = kernel.begin(case.cell, allow_stdin=case.client not in ("", "nobody"))
        hit = hits.follow(cell, PATIENCE)
        if case.kills_the_kernel():
            return self._farewell(notebook)
        if hits.met_ipython(cell):
            self.endings["interrupted after the end"] += 1
            return self._afterwards(case, notebook)
        reply = cell.finish()
        told = kernel.value("report.of_run(run) if 'run' in globals() else None")
        self.endings[told["status"] if told else "never begun"] += 1
        if told and case.restarts:
            self.attempts[len(told["attempts"])] += 1
        found = list(objections(case, reply, told, hit))
        found += [f"aside: {said}" for said in kernel.value(f"aside.told({case.token!r})")]
        if case.beside:
            found += self._run_beside(case, notebook)
        if found:
            return [*found, f"the run: {told}", f"the cell: {reply}"]
        return self._afterwards(case, notebook)

    def _afterwards(self, case: Case, notebook: Notebook) -> list[str]:
        return [*self._survivors(case, notebook), *self._next_run(notebook), *self._leftovers(notebook)]

    def _farewell(self, notebook: Notebook) -> list[str]:
        """Check what is left when the kernel was killed, and have the next one made."""
        self._notebook = None
        self.endings["kernel killed"] += 1
        notebook.kernel.process.kill()
        notebook.kernel.process.wait()
        left, seconds = self._watcher.wait_until_gone(-1, PATIENCE, helpers=True)
        self.longest_farewell = max(self.longest_farewell, seconds)
        found = [f"outlives the kernel: {one.described()}" for one in left]
        for one in left:
            end(one.pid)
        found += self._new_memory()
        notebook.close()
        return found

    def _run_beside(self, case: Case, notebook: Notebook) -> list[str]:
        results, failures = notebook.kernel.value("(other.wait(), other.results, sorted(other.failures))[1:]")
        covered = sorted([*results, *failures]) == [0, 1]
        if covered and (case.hits_others() or results == {0: 0, 1: 1}):
            return []
        return [f"the run beside it has results {results} and failures of {failures}"]

    def _survivors(self, case: Case, notebook: Notebook) -> list[str]:
        left, _ = self._watcher.wait_until_gone(notebook.pid, PATIENCE / 2, helpers=False)
        found = [f"outlives the run: {one.described()}" for one in left]
        found += [f"outlives the run: pid {pid} has its mark" for pid in marked(case.token)]
        for one in left:
            end(one.pid)
        return found

    def _next_run(self, notebook: Notebook) -> list[str]:
        reply = notebook.kernel.run(_NEXT)
        results = notebook.kernel.value("globals().get('results')")
        if reply.status == "ok" and results == {0: 40, 1: 41}:
            return []
        return [f"the next run has results {results}; the cell said {reply.ename}: {reply.evalue}"]

    def _leftovers(self, notebook: Notebook) -> list[str]:
        held = notebook.tidy_up()
        new = {number: name for number, name in held.items() if notebook.steady.get(number) != name}
        found = [f"descriptors left in the kernel: {new}"] if len(new) > _SLACK else []
        there, known = notebook.kernel.value("report.logs()")
        found += [f"logs of a run that nobody refers to: {path}" for path in sorted(set(there) - set(known))]
        if len(known) > _SLACK:
            found.append(f"runs that somebody still refers to: {known}")
        below = self._watcher.below(notebook.pid)
        found += [f"not reaped: {one.described()}" for one in below if one.state == "Z"]
        helpers = Counter(one.name for one in below)
        # at most three zygotes are kept, each with one forkserver and its spares
        if helpers["nblaunch-zygote"] > 3 or helpers["nblaunch-forks"] > 3 or helpers["nblaunch-spare"] > 3 * 4:
            found.append(f"helpers pile up: {dict(helpers)}")
        return found + self._new_memory()

    def _new_memory(self) -> list[str]:
        deadline = time.monotonic() + PATIENCE / 2
        # the helpers of libraries remove what a process has left when they see that it has ended
        while (new := left_by_us(present() - self._memory)) and time.monotonic() < deadline:
            time.sleep(0.1)
        self._memory |= new
        return [f"left behind: {PLACE / name}" for name in sorted(new)]

    def _explained(self, case: Case, found: list[str], notebook: Notebook) -> str:
        faults = "\n".join(f"  {blow.described()}" for blow in case.blows)
        parts = [
            f"run {case.number} of seed {case.seed}: {found[0]}",
            *found[1:],
            f"its faults:\n{faults}",
            f"its cell (after {case.setup}):\n{case.cell}",
            f"kernel:\n{notebook.kernel.log[-3000:]}",
        ]
        if notebook.kernel.process.poll() is None:
            parts.append(f"its threads:\n{notebook.stacks()}")
        parts.append("processes:\n" + "\n".join(f"  {one.described()}" for one in self._watcher.below(notebook.pid)))
        parts.append(f"once more: make chaos SEED={case.seed} RUN={case.number}")
        # ranks write, and raise, what no terminal should be shown
        return "".join(
            letter if letter.isprintable() or letter == "\n" else ascii(letter)[1:-1] for letter in "\n\n".join(parts)
        )


def run_all(seed: int, numbers: Iterable[int], say: Callable[[str], object]) -> tuple[Driver, list[str]]:
    """Run all of these cases, whatever fails; return what was counted and what went wrong."""
    driver, failed = Driver(seed, say), []
    try:
        for number in numbers:
            try:
                driver.run([number])
            except ChaosError as error:
                failed.append(str(error))
                say(f"{error}\n")
    finally:
        driver.close()
    return driver, failed
