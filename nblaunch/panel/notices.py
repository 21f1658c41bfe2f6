"""Lines of nblaunch's own, printed under the cell, such as notices about the objects that are sent to ranks."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import TextIO

from nblaunch.jupyter.comms import under_its_cell
from nblaunch.wording import in_words

__all__ = ["print_lines", "print_notices", "print_size_notice", "write"]


def write(stream: TextIO, lines: Sequence[str]) -> None:
    """Write lines that end in line feeds to a stream; they stand under the cell whose thread this is."""
    if lines:
        place = under_its_cell(stream)
        place.write("".join(lines))
        place.flush()


def print_lines(lines: Sequence[str]) -> None:
    """Print lines to standard output."""
    with contextlib.suppress(ValueError, OSError):  # the stream is closed
        write(sys.stdout, [f"{line}\n" for line in lines])


def print_notices(notices: Sequence[str]) -> None:
    """Print sentences about objects that will behave otherwise in the ranks than in the notebook."""
    write(sys.stderr, [f"{notice}\n" for notice in notices])


def print_size_notice(sizes: dict[str, int], limit: float) -> None:
    """Say what can be done about the objects sent to each rank if they have at least `limit` bytes; 0 is never."""
    total = sum(sizes.values())
    if limit and total >= limit:
        write(sys.stderr, [f"{_notice(sizes, total)}\n"])


def _notice(sizes: dict[str, int], total: int) -> str:
    largest = max(sizes, key=lambda name: sizes[name])
    return (
        f"This cell takes {in_words(total)} along, most of it in {largest} ({in_words(sizes[largest])}). Ranks share "
        "that memory until they write to it. If they need only a part, select it in an ordinary cell before; or save "
        "it to a file that the ranks open, for example with numpy.load(path, mmap_mode='r'). "
        "(size_notice sets from when on this is shown.)"
    )
