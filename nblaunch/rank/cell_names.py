"""Tracebacks on IPython 7 that name cells as ``Cell In[5], line 4``, as those of newer IPython do.

IPython 7 shows the name of the temporary file that a cell is compiled under.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import IPython
from IPython.utils.path import compress_user

__all__ = ["name_cells"]


def name_cells(tracer: Any, numbers: Mapping[str, int]) -> None:
    """Have a shell's `InteractiveTB` name cells by their numbers; nothing is changed on IPython 8 and newer.

    The numbers are read by file name whenever a traceback is formatted, so cells may be added later.
    """
    if IPython.version_info[0] >= 8:
        return
    format_record = tracer.format_record

    def format_with_number(frame: Any, file: str, line: int, function: str, lines: Any, index: Any) -> str:
        text: str = format_record(frame, file, line, function, lines, index)
        number = numbers.get(file)
        head, newline, rest = text.partition("\n")
        shown = next((name for name in (compress_user(os.path.abspath(file)), file) if name in head), "")
        if number is None or not shown:
            return text
        place, _, called = head.replace(shown, f"Cell In[{number}]", 1).partition(" in ")
        name = f", in {called}" if called and function != "<module>" else ""
        return f"{place}, line {line}{name}{newline}{rest}"

    tracer.format_record = format_with_number
