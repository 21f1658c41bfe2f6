"""`get_logger`, as torch's programs ask for it."""

from __future__ import annotations

import logging
import os
import sys

from nblaunch.exports import exported_by

__all__ = ["get_logger"]


@exported_by("nblaunch.processes")
def get_logger(name: str | None = None) -> logging.Logger:
    """Return a logger whose level is that in the environment variable ``LOGLEVEL``, or WARNING.

    Parameters
    ----------
    name : str, optional
        Its name; by default that of the calling module.

    Raises
    ------
    ValueError
        If the variable names no level.
    """
    log = logging.getLogger(name or sys._getframe(1).f_globals.get("__name__", "__main__"))
    log.setLevel(os.environ.get("LOGLEVEL", "WARNING").upper())
    return log
