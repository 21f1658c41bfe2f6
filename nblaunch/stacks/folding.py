"""Stacks of ranks as text: down to the user's own code, with ranks at the same place in one line.

::

    StacksTaken, cells of the notebook ─► label_cells() ─► where(), Stacks ─► failures, panel, ``%multiproc stacks``
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from itertools import groupby

from nblaunch.events import Frame, Stack
from nblaunch.exports import exported_by
from nblaunch.stacks.escaped_names import as_written
from nblaunch.wording import name_ranks

__all__ = ["CUT_OFF", "Stacks", "frame_text", "label_cells", "users_frames", "where"]

CUT_OFF = "… and all that are further out: Python tells of no more than a hundred"
"""The line after the frames of a stack whose outer frames are missing."""

_CELL = "Cell In["
# Names of files are compared as faulthandler writes them: what its escapes stand for is not always clear.
_PACKAGE = as_written(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), ""))
# Innermost frames of one stack in a text, and at most as many of the user's own further out.
_MAX_FRAMES = 8
# Groups of ranks in a text.
_MAX_GROUPS = 12
# Places of other threads in the text of a group.
_MAX_PLACES = 4
# Threads besides the main one that faulthandler writes.
_MAX_OTHER_THREADS = 100
# Files of the functions in which a rank waits for an answer from the user.
_ASKING = (os.path.join("nblaunch", "rank", "asking.py"), os.path.join("nblaunch", "rank", "debugging.py"))
# Functions that decorators and torch modules put around the one that the user has called, without their underscores.
_WRAPPERS = {
    "call",
    "call_impl",
    "wrapped_call_impl",
    "decorate_context",
    "fn",
    "inner",
    "wrapped",
    "wrapper",
    "<lambda>",
}
# By the state of the thread in /proc.
_STATE_WORDS = {"R": "running in", "S": "waiting in"}


def label_cells(stacks: Mapping[int, Stack], cells: Mapping[str, int]) -> dict[int, Stack]:
    """Replace the file names of cells by what the notebook calls them, such as ``Cell In[7]``.

    Parameters
    ----------
    stacks : mapping of int to Stack
        By rank.
    cells : mapping of str to int
        Numbers of the notebook's cells by file name.
    """
    numbers = {as_written(file): number for file, number in cells.items()}

    def named(frame: Frame) -> Frame:
        number = numbers.get(as_written(frame.file))
        return frame if number is None else replace(frame, file=f"{_CELL}{number}]")

    return {
        rank: replace(stack, threads=tuple(tuple(map(named, frames)) for frames in stack.threads))
        for rank, stack in stacks.items()
    }


def users_frames(frames: Iterable[Frame], cut: bool = False) -> list[Frame]:
    """Return the frames down to the cell or function that was launched, without those of the launcher.

    Parameters
    ----------
    frames : iterable of Frame
        All frames of a thread, the innermost first.
    cut : bool
        Whether the outermost frames, which are the launcher's, are missing.
    """
    found = list(frames)
    # the outermost call of the shell counts: the user's code may call the shell too
    shells = [index for index, frame in enumerate(found) if frame.file.endswith("IPython/core/interactiveshell.py")]
    cells = [index for index in shells if found[index].function == "run_code"]
    end = next(iter(cells[-1:] or shells[:1]), len(found))
    # The launcher's frames are the outermost unbroken row of ours. Others are called by the user's code: input() is.
    ours = [index for index, frame in enumerate(found[:end]) if _is_ours(frame)]
    while ours and (ours[-1] - 1 in ours):
        ours.pop()
    if ours and not shells and not cut:
        end = ours[-1]
    return found[:end]


def frame_text(frame: Frame) -> str:
    """Return one frame as a line."""
    at = f", line {frame.line}" if frame.file.startswith(_CELL) else f":{frame.line}"
    name = "" if frame.function == "<module>" else f", in {frame.function}"
    return f"{frame.file if frame.file.startswith(_CELL) else f'File {frame.file}'}{at}{name}"


def where(stack: Stack) -> str:
    """Say in a line where a rank was: the line of the user's code, and the function that it had called."""
    if not stack.threads:
        return f"no stack: {stack.problem}"
    frames = users_frames(stack.threads[0], stack.cut)
    if not frames:
        if any(frame.function == "debug_failure" and _is_ours(frame) for frame in stack.threads[0]):
            return "held at its failure"
        return "not yet in the cell, or no longer"
    position = _position(frames)
    if _asks(frames):
        return f"waiting for an answer, {frame_text(frames[position])}"
    return _called(frames, position, _STATE_WORDS.get(stack.state, "in"))


def _position(frames: list[Frame]) -> int:
    """Return the index of the innermost frame of the user's own code; of the outermost frame if there is none."""
    return next((index for index, frame in enumerate(frames) if _is_users(frame)), len(frames) - 1)


def _asks(frames: list[Frame]) -> bool:
    return any(frame.file.endswith(_ASKING) for frame in frames[: _position(frames)])


def _called(frames: list[Frame], position: int, does: str) -> str:
    place = frame_text(frames[position])
    if position == 0:
        return place
    called = [frame.function for frame in reversed(frames[:position])]
    function = next((name for name in called if name.strip("_") not in _WRAPPERS), called[0])
    return f"{does} {function}, {place}"


@exported_by("nblaunch")
class Stacks(Mapping[int, Stack]):
    """Stacks by rank; the text shows ranks at the same place together.

    Examples
    --------
    >>> import threading
    >>> waits = (Frame(threading.__file__, 629, "wait"), Frame("Cell In[7]", 9, "<module>"))
    >>> stacks = Stacks({0: Stack((waits,), "S"), 1: Stack((waits,), "S"), 2: Stack((waits[1:],), "R")})
    >>> [line for line in stacks.lines() if line.startswith("rank")]
    ['ranks 0-1: waiting in wait, Cell In[7], line 9', 'rank 2: Cell In[7], line 9']
    """

    def __init__(self, stacks: Mapping[int, Stack]) -> None:
        self._stacks = dict(sorted(stacks.items()))

    def __getitem__(self, rank: int) -> Stack:
        return self._stacks[rank]

    def __iter__(self) -> Iterator[int]:
        return iter(self._stacks)

    def __len__(self) -> int:
        return len(self._stacks)

    def groups(self) -> list[tuple[list[int], Stack]]:
        """Return ranks that are at the same place, with the stack of one of them; the largest group first."""
        found: dict[object, list[int]] = {}
        for rank, stack in self._stacks.items():
            frames = tuple(users_frames(stack.threads[0], stack.cut)) if stack.threads else ()
            found.setdefault((frames, stack.problem, stack.native), []).append(rank)
        ordered = sorted(found.values(), key=lambda ranks: (-len(ranks), ranks))
        return [(ranks, self._stacks[ranks[0]]) for ranks in ordered]

    def lines(self) -> list[str]:
        """Return the text, as lines."""
        groups = self.groups()
        found = []
        for ranks, stack in groups[:_MAX_GROUPS]:
            found.append(f"{name_ranks(ranks)}: {where(stack)}")
            frames = users_frames(stack.threads[0], stack.cut) if stack.threads else []
            if _asks(frames):
                frames = frames[_position(frames) :]  # the inner frames, which ask, are nblaunch's
            if stack.native:
                found += [f"    {line}" for line in stack.native.splitlines()]
            elif len(frames) > 1:
                found += [f"    {line}" for line in _frame_lines(frames, stack.cut)]
            if not stack.native:
                found += [f"    {line}" for line in _thread_lines([self._stacks[rank] for rank in ranks])]
            left_out = [self._stacks[rank].left_out for rank in ranks]
            if len(stack.threads) > _MAX_OTHER_THREADS and any(left_out) and not stack.native:
                number = f"{min(left_out)}-{max(left_out)}" if min(left_out) != max(left_out) else f"{left_out[0]}"
                found.append(
                    f"    (Python tells of this thread, the main one, and of the newest hundred; {number} more are "
                    "left out)"
                )
        if groups[_MAX_GROUPS:]:
            found.append(f"… and {name_ranks(rank for ranks, _ in groups[_MAX_GROUPS:] for rank in ranks)} elsewhere")
        return found

    def __str__(self) -> str:
        return "\n".join(self.lines()) or "no rank is running"

    def __repr__(self) -> str:
        return str(self)


def _thread_lines(stacks: Iterable[Stack]) -> list[str]:
    """Return lines that say where the user's own code was in other threads than the main one."""
    places: Counter[str] = Counter()
    for stack in stacks:
        for frames in map(list, stack.threads[1:]):
            if any(map(_is_users, frames)):
                places[_called(frames, _position(frames), "in")] += 1
    shown = places.most_common(_MAX_PLACES)
    lines = [f"{f'{count} other threads' if count > 1 else 'another thread'}: {place}" for place, count in shown]
    others = places.total() - sum(count for _, count in shown)
    return [*lines, f"… and {others} other threads elsewhere"] if others else lines


def _frame_lines(frames: list[Frame], cut: bool) -> list[str]:
    """Return the innermost frames and the user's own frames as lines; each row of equal frames is one line."""
    runs = [(frame, len(list(same))) for frame, same in groupby(frames)]
    inner, outer = runs[:_MAX_FRAMES], runs[_MAX_FRAMES:]
    users = [run for run in outer if _is_users(run[0])]
    if len(users) > _MAX_FRAMES:
        # in a recursion, where it began is as useful as where it is now
        users = users[: _MAX_FRAMES // 2] + users[-_MAX_FRAMES // 2 :]
    shown = inner + users
    lines = [frame_text(frame) + (f" ({count} times)" if count > 1 else "") for frame, count in shown]
    missing = len(frames) - sum(count for _, count in shown)
    own = sum(map(_is_users, frames)) - sum(count for frame, count in shown if _is_users(frame))
    if missing:
        whose = "of libraries" if not own else "of your own code" if own == missing else f"({own} of your own code)"
        lines.append(f"… and {missing} {whose} between")
    if cut:
        lines.append(CUT_OFF)
    return lines


def _is_users(frame: Frame) -> bool:
    return frame.file.startswith(_CELL) or not as_written(frame.file).startswith(("<frozen", _PACKAGE, *_libraries()))


def _is_ours(frame: Frame) -> bool:
    return as_written(frame.file).startswith(_PACKAGE)


@cache
def _libraries() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    folders = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders.add(os.path.join(sys.base_prefix, "lib"))
    return tuple(as_written(os.path.join(folder, "")) for folder in folders)
