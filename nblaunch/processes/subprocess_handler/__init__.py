"""A program as one process with its log files, under the names of torch's package."""

from nblaunch.processes.subprocess_handler.handlers import get_subprocess_handler
from nblaunch.processes.subprocess_handler.subprocess_handler import SubprocessHandler

__all__ = ["SubprocessHandler", "get_subprocess_handler"]
