"""What the ranks and workers do: importable everywhere, and light to import."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

__all__ = [
    "few_elements",
    "fork_and_wait",
    "import_torch",
    "leave_mark",
    "make_array",
    "make_array_and_tell",
    "trivial",
    "write_lines",
]

MIB = 1 << 20
LINE = "x" * 127 + "\n"


def trivial() -> int:
    """Return the process id, from which can be seen who did it."""
    return os.getpid()


def leave_mark(path: str) -> None:
    """Append the process id to a file: for launchers that return nothing."""
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\n")


def few_elements(array: Any) -> float:
    """Sum 64 elements from all over an array: as many pages are touched, and no more."""
    return float(array[:: max(1, array.size // 64)].sum())


def make_array(mebibytes: int, value: float) -> Any:
    """Return an array of float64 of that size, full of one value."""
    import numpy

    return numpy.full(mebibytes * MIB // 8, value)


def make_array_and_tell(mebibytes: int, value: float) -> tuple[Any, float]:
    """Return such an array, and the time (`time.monotonic`) at which it was there."""
    return make_array(mebibytes, value), time.monotonic()


def import_torch() -> int:
    """Import torch; return the process id."""
    import torch  # noqa: F401

    time.sleep(0.3)  # so that one worker does not do it for all
    return os.getpid()


def write_lines(total: int) -> float:
    """Write lines of 128 bytes to stdout, as many as `total` bytes need; return the seconds that it took."""
    write, line = sys.stdout.write, LINE
    began = time.perf_counter()
    for _ in range(total // len(line)):
        write(line)
    sys.stdout.flush()
    return time.perf_counter() - began


def fork_and_wait(number: int, work: Any = None) -> None:
    """Fork children that do something and exit, and wait for all of them: the least that processes can take."""
    children = []
    for _ in range(number):
        child = os.fork()
        if child == 0:
            try:
                if work is not None:
                    work()
            except BaseException:
                os._exit(1)
            os._exit(0)
        children.append(child)
    for child in children:
        if os.waitpid(child, 0)[1] != 0:
            raise RuntimeError("a forked child failed")
