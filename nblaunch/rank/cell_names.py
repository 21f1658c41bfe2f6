"""Tracebacks that name cells as ``Cell In[5], line 4`` on IPython 7, which names the files they are compiled under.

Newer IPython does so by itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import IPython
from IPython.utils.path import compress_user

__all__ = ["name_cells"]


def name_cells(tracer: Any, numbers: Mapping[str, int]) -> None:
    """Have what formats a shell's tracebacks name cells by their numbers.

    Parameters
    ----------
    tracer : IPython.core.ultratb.AutoFormattedTB
        The shell's.
    numbers : mapping of str to int
        Numbers of cells by file name; looked at whenever a traceback is formatted.
    """
    if IPython.version_info[0] >= 8:
        return
    format_record = tracer.format_record

    def named(frame: Any, file: str, line: int, function: str, lines: Any, index: Any) -> str:
        text: str = format_record(frame, file, line, function, lines, index)
        number = numbers.get(file)
        head, newline, rest = text.partition("\n")
        shown = next((name for name in (compress_user(os.path.abspath(file)), file) if name in head), "")
        if number is None or not shown:
            return text
        place, _, called = head.replace(shown, f"Cell In[{number}]", 1).partition(" in ")
        name = f", in {called}" if called and function != "<module>" else ""
        return f"{place}, line {line}{name}{newline}{rest}"

    tracer.format_record = named
