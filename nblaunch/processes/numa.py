"""Processors near a rank's GPU: torch's own four strategies (`torch.numa.binding`), for functions and programs.

torch finds the processors. It asks `numactl`, where that is installed, to bind programs to them; elsewhere the affinity
of the process is set, which has the same effect on it and on all that it starts.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator
from typing import Any

__all__ = ["bind_this_process", "bound_command", "check_options", "on_cpus", "options_of_torch"]

logger: logging.Logger = logging.getLogger(__name__)


def options_of_torch(name: str) -> Any:
    """Return ``NumaOptions``, for modules that have it by name: it is torch's, and nobody needs it without torch.

    Raises
    ------
    AttributeError
        If another name is asked for.
    ImportError
        If torch is not installed.
    """
    if name != "NumaOptions":
        raise AttributeError(f"nblaunch.processes has no attribute {name!r}")
    from torch.numa import binding

    return binding.NumaOptions


def check_options(options: Any) -> None:
    """Raise TypeError if something else than torch's options is given, or torch has none."""
    if options is not None and not hasattr(options, "affinity_mode"):
        raise TypeError(
            f"numa_options is {options!r}: it must be a NumaOptions of torch.numa.binding, such as "
            "NumaOptions(affinity_mode=AffinityMode.NODE), or None"
        )


def bind_this_process(rank: int, options: Any) -> None:
    """Let this process, its threads included, run on the processors near the GPU of a rank.

    Raises
    ------
    Exception
        What torch raises, for example because there is no such GPU, unless the options say to go on then.
    """
    cpus = _near(rank, options)
    if cpus:
        for thread in os.listdir("/proc/self/task"):
            with contextlib.suppress(ProcessLookupError):  # it has ended
                os.sched_setaffinity(int(thread), cpus)


def bound_command(command: tuple[str, ...], rank: int, options: Any) -> tuple[tuple[str, ...], frozenset[int]]:
    """Return a command that runs on the processors near the GPU of a rank, and those that are still to be set.

    Raises
    ------
    Exception
        As `bind_this_process`.
    """
    cpus = _near(rank, options)
    numactl = shutil.which("numactl")
    if cpus and numactl:
        # by its path: the rank may have another PATH
        return (numactl, f"--physcpubind={','.join(map(str, sorted(cpus)))}", *command), frozenset()
    return command, cpus


@contextlib.contextmanager
def on_cpus(cpus: frozenset[int]) -> Iterator[None]:
    """Have what this thread starts meanwhile run on these processors; wherever it likes if there are none."""
    if not cpus:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _near(rank: int, options: Any) -> frozenset[int]:
    if options is None:
        return frozenset()
    try:
        from torch.numa import binding

        cpus = frozenset(binding._get_logical_cpus_to_bind_to(gpu_index=rank, numa_options=options))
        if not cpus:
            raise RuntimeError(f"no processors were found near the GPU of local rank {rank}")
    except Exception as error:
        if not options.should_fall_back_if_binding_fails:
            raise
        logger.warning(
            "local rank %d runs on any processor, because those near its GPU cannot be found: %s: %s",
            rank,
            type(error).__name__,
            error,
        )
        return frozenset()
    return cpus
