"""Gangs of processes on this machine, with the names and meaning of torch's elastic multiprocessing package.

A program written against ``torch.distributed.elastic.multiprocessing`` works when only its import changes. Neither
torch nor IPython is imported.

`nblaunch.processes.gang.gang.Gang` does the work; `start_processes` and the contexts in `api` use it.
"""

from typing import TYPE_CHECKING

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
from nblaunch.processes.elastic.loggers import get_logger
from nblaunch.processes.errors import ProcessFailure
from nblaunch.processes.numa import options_of_torch as __getattr__

if TYPE_CHECKING:
    from torch.numa.binding import NumaOptions

__all__ = [
    "DefaultLogsSpecs",
    "LogsDest",
    "LogsSpecs",
    "MultiprocessContext",
    "NumaOptions",
    "PContext",
    "ProcessFailure",
    "RunProcsResult",
    "SignalException",
    "Std",
    "SubprocessContext",
    "__getattr__",
    "_validate_full_rank",
    "get_logger",
    "start_processes",
    "to_map",
]
