"""torchrun itself on this layer, side by side with torch's own: exit codes, files, and lines up to their order."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.processes.targets import LIMIT

pytestmark = [pytest.mark.torch, pytest.mark.frameworks]
pytest.importorskip("torch.distributed.run")

ROOT = str(Path(__file__).parents[2])
ALIASED = """
import importlib, sys
for name in ("", ".api", ".errors", ".errors.error_handler", ".errors.handlers", ".redirects", ".tail_log",
             ".subprocess_handler", ".subprocess_handler.handlers", ".subprocess_handler.subprocess_handler"):
    ours = importlib.import_module(f"nblaunch.processes{name}")
    sys.modules[f"torch.distributed.elastic.multiprocessing{name}"] = ours
"""
MAIN = """
import sys
from torch.distributed.elastic.agent.server import local_elastic_agent
assert local_elastic_agent.start_processes.__module__.startswith({module!r})
from torch.distributed.run import main
main(sys.argv[1:])
"""
# The ranks do not import torch unless they have to: it takes seconds.
TRAINING = """
import os, signal, sys, time
rank, world = os.environ["RANK"], os.environ["WORLD_SIZE"]
what, *more = sys.argv[1:]
# torchrun starts Python with -u: print() would write a line in several pieces, and those of two ranks would mix
first = f"rank {rank} of {world}, attempt {os.environ['TORCHELASTIC_RESTART_COUNT']}"
sys.stdout.write(" ".join([first, *more]) + "\\n")
sys.stderr.write(f"error of {rank}\\n")
place = os.environ["PLACE"]
def wait_for(count, name):
    open(f"{place}/{name}_{rank}", "w").close()
    while sum(file.startswith(name + "_") for file in os.listdir(place)) < count:
        time.sleep(0.02)
if what == "exit":
    wait_for(int(world), "exit")
    sys.exit(3 if rank == "1" else 0)
if what in ("raise", "recorded", "recorded late"):
    def fail():
        raise ValueError(f"boom of {rank}")
    if what != "raise":
        from torch.distributed.elastic.multiprocessing.errors import record
        fail = record(fail)
    wait_for(int(world), what.replace(" ", ""))
    if rank == "1":
        fail()
    time.sleep(1000)
if what == "signal":
    wait_for(int(world), "signal")
    if rank == "0":
        os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(1000)
if what == "once":
    wait_for(int(world), "once" + os.environ["TORCHELASTIC_RESTART_COUNT"])
    if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        sys.exit(5 if rank == "0" else 0)
if what == "block":
    open(f"{place}/up_{rank}", "w").close()
    time.sleep(1000)
"""


@dataclass
class Outcome:
    """What a run of torchrun leaves to be compared."""

    code: int
    out: list[str]
    report: list[str]
    files: dict[str, str]


def start(whose: str, place: Path, options: list[str], training: list[str]) -> subprocess.Popen[str]:
    place.mkdir()
    for name in ("logs", "tmp", "meet"):
        (place / name).mkdir()
    (place / "training.py").write_text(TRAINING)
    program = ALIASED if whose == "nblaunch" else ""
    program += MAIN.format(module="nblaunch" if whose == "nblaunch" else "torch")
    (place / "launcher.py").write_text(program)
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "launcher.py", "--standalone", *options, *training],
        cwd=place,
        env=os.environ | {"PYTHONPATH": ROOT, "TMPDIR": str(place / "tmp"), "PLACE": str(place / "meet")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], place: Path) -> Outcome:
    out, err = process.communicate(timeout=LIMIT * 3)
    logs = place / "logs"
    files = {
        plain(str(path.relative_to(logs)), place): "\n".join(sorted(plain(path.read_text(), place).splitlines()))
        for path in logs.rglob("*")
        if path.is_file()
    }
    # what each side logs in its own words is pinned elsewhere
    lines = plain(err, place).splitlines()
    from_ranks = sorted(line for line in lines if re.match(r"(\[.*\]:)?error of \d|(\[.*\]:)?ValueError", line))
    begin = next((number for number, line in enumerate(lines) if line == "==="), len(lines))
    return Outcome(process.returncode, sorted(plain(out, place).splitlines()), from_ranks + lines[begin:], files)


def plain(text: str, place: Path) -> str:
    text = text.replace(str(place), "PLACE")
    for pattern, name in [
        (r"pid: \d+", "pid: PID"),
        (r"PID \d+", "PID PID"),
        (r"\d{4}-\d\d-\d\d_\d\d:\d\d:\d\d", "TIME"),
        (r'"timestamp": "?\d+"?', "TIMESTAMP"),
        # without an error file, each says in its own words how to get one
        (r"(error_file: <N/A>\n  traceback : )(exitcode|exited|To enable).*", r"\1HINT"),
        (r"(?m)^=+$", "==="),
        (r"(?m)^-+$", "---"),
        (r"[0-9a-f]{8}-[0-9a-f-]{27}_[a-z0-9_]{8}|none_[a-z0-9_]{8}", "RUN"),
    ]:
        text = re.sub(pattern, name, text)
    return text


def both(tmp_path: Path, options: list[str], training: list[str]) -> tuple[Outcome, Outcome]:
    """Run both at the same time, and return what has come of them."""
    places = {whose: tmp_path / whose for whose in ("torch", "nblaunch")}
    processes = {whose: start(whose, place, options, training) for whose, place in places.items()}
    theirs, ours = (finish(processes[whose], places[whose]) for whose in ("torch", "nblaunch"))
    return theirs, ours


CASES = {
    "quiet": (["--nproc-per-node=2"], ["training.py", "run", "a", "b c"], 0),
    "redirects": (["--nproc-per-node=3", "--redirects=3", "--log-dir=logs"], ["training.py", "run"], 0),
    "redirects of one": (["--nproc-per-node=2", "--redirects=0:1,1:2", "--log-dir=logs"], ["training.py", "run"], 0),
    "tee": (["--nproc-per-node=2", "--tee=3", "--log-dir=logs"], ["training.py", "run"], 0),
    "one shown": (
        ["--nproc-per-node=3", "--tee=3", "--log-dir=logs", "--local-ranks-filter=1"],
        ["training.py", "run"],
        0,
    ),
    "a module": (["--nproc-per-node=2", "-m"], ["training", "run"], 0),
    "no Python": (["--nproc-per-node=2", "--no-python"], ["sh", "-c", "echo shell $LOCAL_RANK"], 0),
    "exit code": (["--nproc-per-node=2", "--log-dir=logs", "--tee=3"], ["training.py", "exit"], 1),
    "exception": (["--nproc-per-node=2", "--log-dir=logs", "--redirects=1"], ["training.py", "raise"], 1),
    "recorded": (["--nproc-per-node=2", "--log-dir=logs", "--redirects=3"], ["training.py", "recorded"], 1),
    "crash": (["--nproc-per-node=2", "--log-dir=logs", "--redirects=3"], ["training.py", "signal"], 1),
    "a restart": (
        ["--nproc-per-node=2", "--max-restarts=2", "--monitor-interval=0.1", "--log-dir=logs", "--tee=3"],
        ["training.py", "once"],
        0,
    ),
    "restarts in vain": (
        ["--nproc-per-node=2", "--max-restarts=1", "--monitor-interval=0.1", "--log-dir=logs", "--redirects=3"],
        ["training.py", "exit"],
        1,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_torchrun_does_the_same(tmp_path: Path, case: str) -> None:
    options, training, code = CASES[case]
    theirs, ours = both(tmp_path, options, training)
    assert theirs.code == code, theirs
    assert ours == theirs


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_torchrun_is_told_to_end(tmp_path: Path, number: signal.Signals) -> None:
    outcomes = []
    for whose in ("torch", "nblaunch"):
        place = tmp_path / whose
        process = start(whose, place, ["--nproc-per-node=2", "--log-dir=logs", "--tee=3"], ["training.py", "block"])
        assert process.stdout is not None
        # both are at work when they have said so
        for _ in range(2):
            assert "attempt 0" in process.stdout.readline()
        process.send_signal(number)
        outcome = finish(process, place)
        # where in its own code the launcher was
        outcome.report = [line for line in outcome.report if line.startswith("[")]
        outcomes.append(outcome)
    assert outcomes[1] == outcomes[0]
