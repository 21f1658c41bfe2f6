"""`start_processes`, and the names of torch's elastic multiprocessing package in the places where programs look.

All or nothing: a run either returns the values of all ranks or the failures.

Reference for names and behaviour: torch 2.13, ``torch.distributed.elastic.multiprocessing``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nblaunch.exports import exported_by
from nblaunch.processes.elastic.contexts import PContext, RunProcsResult
from nblaunch.processes.elastic.function import _wrap, get_std_cm, importing_main
from nblaunch.processes.elastic.function_context import MultiprocessContext
from nblaunch.processes.elastic.logs_specs import (
    DefaultLogsSpecs,
    LogsDest,
    LogsSpecs,
    Std,
    _validate_full_rank,
    to_map,
)
from nblaunch.processes.elastic.program_context import SubprocessContext
from nblaunch.processes.elastic.termination import SignalException
from nblaunch.processes.errors import ProcessFailure, record
from nblaunch.processes.numa import options_of_torch as __getattr__
from nblaunch.processes.redirects import redirect_stderr, redirect_stdout
from nblaunch.processes.subprocess_handler import SubprocessHandler, get_subprocess_handler
from nblaunch.processes.tail_log import TailLog

__all__ = [
    "DefaultLogsSpecs",
    "LogsDest",
    "LogsSpecs",
    "MultiprocessContext",
    "PContext",
    "ProcessFailure",
    "RunProcsResult",
    "SignalException",
    "Std",
    "SubprocessContext",
    "SubprocessHandler",
    "TailLog",
    "__getattr__",
    "_validate_full_rank",
    "_wrap",
    "get_std_cm",
    "get_subprocess_handler",
    "record",
    "redirect_stderr",
    "redirect_stdout",
    "start_processes",
    "to_map",
]


@exported_by("nblaunch.processes")
def start_processes(
    name: str,
    entrypoint: Callable[..., Any] | str,
    args: dict[int, tuple[Any, ...]],
    envs: dict[int, dict[str, str]],
    logs_specs: LogsSpecs,
    log_line_prefixes: dict[int, str] | None = None,
    start_method: str = "spawn",
    numa_options: Any = None,
    duplicate_stdout_filters: list[str] | None = None,
    duplicate_stderr_filters: list[str] | None = None,
) -> PContext:
    """Start one process per entry of `args`, each running a function or a program.

    Parameters
    ----------
    name : str
        What the processes are, in a word; the header of teed lines.
    entrypoint : callable or str
        A function, or the name or path of a program.
    args : dict of int to tuple
        Arguments of each local rank ``0 … nprocs-1``; for a program they are turned into strings. Without any, no
        process is started, and the result is empty.
    envs : dict of int to dict of str to str
        Environment variables of each local rank, on top of the present ones. ``TORCHELASTIC_ERROR_FILE`` is added.
    logs_specs : LogsSpecs
        Which streams go to files (`redirects`) and which of them to the console as well (`tee`).
    log_line_prefixes : dict of int to str, optional
        Headers of teed lines instead of ``[<name><rank>]:``.
    start_method : {"spawn", "fork", "forkserver"}
        How the process of a function is made; of no meaning for a program. ``spawn`` and ``forkserver`` import the
        program's main module in each rank, as `multiprocessing` does; functions that cannot be imported there
        (of a notebook, lambdas, closures) travel by value.
    numa_options : torch.numa.binding.NumaOptions, optional
        The processors on which each rank may run: those near the GPU whose index is the local rank, as torch finds
        them.
    duplicate_stdout_filters, duplicate_stderr_filters : list of str, optional
        Collect the teed lines that contain any of these in a file of their own.

    Returns
    -------
    PContext
        Already started.

    Raises
    ------
    RuntimeError
        If a mapping lacks a rank, or if a rank launches while it imports an unguarded main module.
    TypeError, ValueError, FileNotFoundError, NotADirectoryError, PermissionError
        If something is wrong with an argument; nothing has been started then.
    OSError
        If the system refuses a process; nothing is left running then.

    Examples
    --------
    >>> context = start_processes("adder", max, {0: (1, 2), 1: (4, 3)}, {0: {}, 1: {}}, DefaultLogsSpecs())
    >>> context.wait().return_values
    {0: 2, 1: 4}
    """
    if importing_main():
        raise RuntimeError(
            "start_processes was called while a rank was importing the main module of this program, and would start "
            "ranks without end: put the call under `if __name__ == '__main__':`"
        )
    _validate_full_rank(args, len(args), "args")
    _validate_full_rank(envs, len(args), "envs")
    more = {
        "logs_specs": logs_specs,
        "log_line_prefixes": log_line_prefixes,
        "numa_options": numa_options,
        "duplicate_stdout_filters": duplicate_stdout_filters,
        "duplicate_stderr_filters": duplicate_stderr_filters,
    }
    context: PContext
    if isinstance(entrypoint, str):
        context = SubprocessContext(name, entrypoint, args, envs, **more)
    else:
        context = MultiprocessContext(name, entrypoint, args, envs, start_method, **more)
    context.start()
    return context
