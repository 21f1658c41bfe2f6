"""Gangs of processes on this machine, with the names and meaning of torch's elastic multiprocessing package.

A program written against ``torch.distributed.elastic.multiprocessing`` works when only its import changes. Neither
torch nor IPython is imported.

The heart is `nblaunch.processes.gang.Gang`; `api` holds `start_processes` and the contexts, which are faces of it.
"""

from nblaunch.processes.api import (
    DefaultLogsSpecs,
    LogsDest,
    LogsSpecs,
    MultiprocessContext,
    PContext,
    RunProcsResult,
    SignalException,
    Std,
    SubprocessContext,
    _validate_full_rank,
    start_processes,
    to_map,
)
from nblaunch.processes.errors import ProcessFailure

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
    "_validate_full_rank",
    "start_processes",
    "to_map",
]
