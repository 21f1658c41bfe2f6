"""Which error handler `record` uses when it is given none."""

from __future__ import annotations

from nblaunch.processes.errors.error_handler import ErrorHandler

__all__ = ["get_error_handler"]


def get_error_handler() -> ErrorHandler:
    """Return a new handler that writes to the file named by ``TORCHELASTIC_ERROR_FILE``."""
    return ErrorHandler()
