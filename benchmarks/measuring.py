"""Rounds: every contender of a case does its work once per round, each in its own process, never two at a time.

::

    measure ─► Stage ─ setup, sample, close ─► benchmarks.stage ─► contender
       │         ▲
       └─ waits until what an earlier sample has left to do in the background is done
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import json
import mmap
import os
import secrets
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from benchmarks.contender import Sample
from benchmarks.work import Case, Entry, Outcome

__all__ = ["measure"]

ROOT = Path(__file__).parents[1]
SETUP_LIMIT = 180.0  # seconds
ENOUGH = 60.0  # seconds that a contender may use for the samples of one case; it gets FEWEST all the same
FEWEST = 3
WINDOW = 0.2  # seconds of quiet before a sample
PATIENCE = 5.0  # seconds to wait for it at most
GOODBYE = 3.0  # seconds for processes to go after their contender has closed
MEMORY_KEPT_FREE = 3 << 30  # bytes; others use this machine too
# Bytes: more than an array from each of 4 ranks and its copies take.
TOUCHED = 4 << 30
PR_SET_CHILD_SUBREAPER = 36


class Failed(Exception):
    """A contender cannot go on."""


def measure(case: Case, rounds: int, say: Callable[[str], None]) -> list[Outcome]:
    """Measure the contenders of a case, alternating.

    Parameters
    ----------
    case : Case
        Who does what.
    rounds : int
        Samples of each contender; slow ones have fewer.
    say : callable
        Takes lines about how far it is.

    Returns
    -------
    list of Outcome
        In the order of the case's entries; those that failed or are absent say why.
    """
    # what a contender's processes leave behind becomes a child of this one, so that it is seen and ended
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    outcomes = [Outcome(entry) for entry in case.entries]
    with tempfile.TemporaryDirectory(prefix="nblaunch-bench-") as place:
        stages: list[tuple[Outcome, Stage]] = []
        try:
            for number, outcome in enumerate(outcomes):
                with _noting(outcome, say):
                    _check_presence(outcome.entry)
                    stage = Stage(outcome.entry, Path(place) / str(number), case.large)
                    stages.append((outcome, stage))
                    stage.ask("setup", SETUP_LIMIT)
                    _wait_for_quiet()
                    stage.ask("sample", max(outcome.entry.limit, SETUP_LIMIT))
            for number in range(min(rounds, case.most_rounds)):
                # who comes first changes too
                turn = number % len(stages) if stages else 0
                for outcome, stage in stages[turn:] + stages[:turn]:
                    if outcome.problem or (stage.used > ENOUGH and len(outcome.samples) >= FEWEST):
                        continue
                    with _noting(outcome, say):
                        busy = _wait_for_quiet()
                        if case.large:
                            _touch_memory()
                        _take(outcome, stage.ask("sample", outcome.entry.limit), busy)
        finally:
            for outcome, stage in stages:
                outcome.left_behind = stage.close()
            _reap_orphans()
    return outcomes


def _check_presence(entry: Entry) -> None:
    absent = [name for name in entry.needs if importlib.util.find_spec(name) is None]
    if absent:
        raise Failed(f"absent: {', '.join(absent)} is not installed")
    free = psutil.virtual_memory().available
    if entry.memory > free - MEMORY_KEPT_FREE:
        raise Failed(f"left out: it needs about {entry.memory / 2**30:.0f} GiB and {free / 2**30:.0f} GiB are free")


@contextlib.contextmanager
def _noting(outcome: Outcome, say: Callable[[str], None]) -> Iterator[None]:
    try:
        yield
    except Failed as failure:
        outcome.problem = str(failure)
        say(f"    {outcome.entry.name}: {failure}")


def _take(outcome: Outcome, sample: Sample, busy: float) -> None:
    outcome.samples.append(sample.pop("value"))
    outcome.busy.append(busy)
    for name, number in sample.items():
        outcome.details.setdefault(name, []).append(number)


class Stage:
    """The process of one contender, seen from here.

    Attributes
    ----------
    used : float
        Seconds that it has been at work on samples.
    """

    def __init__(self, entry: Entry, place: Path, watch_memory: bool) -> None:
        self.used = 0.0
        self._watch_memory = watch_memory
        self._mark = f"NBLAUNCH_BENCH_STAGE={secrets.token_hex(8)}"
        for name in ("tmp", "ipython", "jupyter"):
            (place / name).mkdir(parents=True)
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | {
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
            "TMPDIR": str(place / "tmp"),
            "IPYTHONDIR": str(place / "ipython"),
            "JUPYTER_CONFIG_DIR": str(place / "jupyter"),
            **dict([self._mark.split("=")]),
        }
        self._log = place / "log"
        self._answers, theirs = os.pipe()
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.stage", str(theirs), entry.runs, json.dumps(dict(entry.arguments))],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=place,
                pass_fds=[theirs],
                start_new_session=True,
            )
        os.close(theirs)

    def ask(self, what: str, limit: float) -> Sample:
        """Have the contender do something.

        Raises
        ------
        Failed
            If it could not, or not in time. Its processes have been ended in the latter case.
        """
        began = time.monotonic()
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{what}\n".encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Failed(f"its process died, {self._last_words()}") from None
        text = b""
        while not text.endswith(b"\n"):
            readable, _, _ = select.select([self._answers], [], [], 0.02 if self._watch_memory else 0.5)
            if readable:
                part = os.read(self._answers, 1 << 16)
                text += part
                if not part:
                    raise Failed(f"its process died, {self._last_words()}")
            elif self._process.poll() is not None:
                raise Failed(f"its process died, {self._last_words()}")
            elif time.monotonic() - began > limit:
                self._end()
                raise Failed(f"{what} took longer than {limit:g} s")
            if self._watch_memory and psutil.virtual_memory().available < MEMORY_KEPT_FREE:
                self._end()
                raise Failed(f"stopped: it left less than {MEMORY_KEPT_FREE >> 30} GiB of memory free")
        answer = json.loads(text)
        self.used += time.monotonic() - began if what == "sample" else 0
        if "error" in answer:
            raise Failed(" ".join(answer["error"].split())[:300])
        return {name: float(number) for name, number in answer.items()}

    def close(self) -> list[str]:
        """Stop the contender; return which of its processes were left and had to be killed."""
        assert self._process.stdin is not None
        if self._process.poll() is None:
            with contextlib.suppress(Failed):
                self.ask("close", 60)
        self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        _, alive = psutil.wait_procs(self._family(), timeout=GOODBYE)
        left = []
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                left.append(" ".join(part.rpartition("/")[2] for part in process.cmdline())[:80])
        self._end()
        os.close(self._answers)
        return left

    def _end(self) -> None:
        # again and again, because a process may have been about to make another
        while alive := self._family():
            for process in alive:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(alive, timeout=10)
        self._process.wait()

    def _family(self) -> list[psutil.Process]:
        """Return the processes of this contender, those too whose parents are gone."""
        found = []
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error, OSError):
                marked = self._mark.encode() in Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
                if marked and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def _last_words(self) -> str:
        # its pipe closes a moment before it can be reaped
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return f"exit code {self._process.returncode}: {lines[-1] if lines else 'it wrote nothing'}"


def _reap_orphans() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _touch_memory() -> None:
    """Use and free as much memory as the next sample will need.

    A virtual machine gives memory that nobody has used for some seconds back to its host. Whoever is given it next
    waits for the host, up to ten times as long as for memory that is there: chance would decide.
    """
    size = min(TOUCHED, psutil.virtual_memory().available // 2)
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        for place in range(0, size, mmap.PAGESIZE):
            memory[place] = 1


def _wait_for_quiet() -> float:
    """Wait until no process below this one works; return how busy the whole machine is then, from 0 to 1."""
    # no sample begins with the data of another one still to be written
    os.sync()
    deadline = time.monotonic() + PATIENCE
    while True:
        ours, machine = _work_done(), psutil.cpu_times()
        time.sleep(WINDOW)
        now, then = _work_done(), psutil.cpu_times()
        # one tick of the clock by which the kernel counts
        working = now.keys() != ours.keys() or sum(now.values()) - sum(ours.values()) > 0.011
        if not working or time.monotonic() > deadline:
            total = sum(then) - sum(machine)
            idle = then.idle - machine.idle + then.iowait - machine.iowait
            return round(max(0.0, 1 - idle / total), 3) if total else 0.0


def _work_done() -> dict[int, float]:
    """Return the seconds of processor time that each descendant has used."""
    used = {}
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            used[process.pid] = times.user + times.system
    return used
