"""What ranks use."""

from __future__ import annotations

import queue
import subprocess
import sys
from collections.abc import Callable

from nblaunch.events import Sampled
from nblaunch.processes.watching.sampling import Sampler

# should this process be killed
DIE_TOO = "import ctypes\nctypes.CDLL(None).prctl(1, 9)\n"
BUSY = DIE_TOO + "print('ready', flush=True)\nwhile True: pass"
IDLE = DIE_TOO + "x = bytearray(64_000_000)\nprint('ready', flush=True)\nimport time\ntime.sleep(9999)"
CHILD = DIE_TOO + f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BUSY!r}])"


def first(pids: dict[int, int], wanted: int = 1) -> list[Sampled]:
    samples: queue.SimpleQueue[Sampled] = queue.SimpleQueue()
    sampler = Sampler(lambda: pids, samples.put, 0.3)
    sampler.start()
    try:
        return [samples.get(timeout=60) for _ in range(wanted)]
    finally:
        sampler.close()
        sampler.join(60)


def test_processor_time_and_memory(start: Callable[[str], int]) -> None:
    pids = {0: start(BUSY), 1: start(IDLE)}
    (sample,) = first(pids)
    assert set(sample.usage) == {0, 1}
    assert sample.usage[0].cpu > 5
    assert sample.usage[1].cpu < sample.usage[0].cpu
    assert 64_000_000 < sample.usage[1].memory < 200_000_000
    assert 0 < sample.usage[0].memory < 64_000_000


def test_what_a_rank_has_started_counts(start: Callable[[str], int]) -> None:
    (sample,) = first({0: start(CHILD)})
    assert sample.usage[0].cpu > 5


def test_a_process_that_is_gone_uses_nothing() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    (sample,) = first({0: process.pid})
    assert (sample.usage[0].cpu, sample.usage[0].memory) == (0.0, 0)
