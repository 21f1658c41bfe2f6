"""`Work`: what a rank has to do; the notebook objects that it needs are sent beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["VALUE", "CellSource", "Elsewhere", "SetUp", "Work"]

# The name under which a rank's value is packed, beside its collected variables; no variable can have this name.
VALUE = "the value of the last expression"


@dataclass(frozen=True)
class CellSource:
    """A notebook cell that has defined captured functions: tracebacks of the rank show its lines."""

    number: int
    lines: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True)
class Elsewhere:
    """Names that exist elsewhere, for hints in the errors of a rank. Each `str` is names joined by spaces.

    Parameters
    ----------
    notebook : str
        All variables of the notebook.
    ranks : dict of str to int
        Variables that earlier cells have bound in ranks, with the number of the latest such cell.
    bound : str
        Variables that this cell binds itself.
    remedy : {"", "line", "launch", "function"}
        Where more variables can be named: on the ``%%multiproc`` line, in an argument of `nblaunch.launch`, or in the
        function that is launched. Empty for a rank that was launched in none of these ways.
    no_capture : bool
        Whether only variables that were named in such a way are sent (``--no-capture``).
    magics : str
        The notebook's magics that are not IPython's own.
    """

    notebook: str = field(default="", repr=False)
    ranks: dict[str, int] = field(default_factory=dict, repr=False)
    bound: str = ""
    remedy: str = ""
    no_capture: bool = False
    magics: str = field(default="", repr=False)


@dataclass(frozen=True)
class SetUp:
    """The notebook's set-up cell, which every rank runs first.

    Parameters
    ----------
    source : str
        The text of the cell.
    filename : str
        Name that the cell is compiled under, the same as in the notebook.
    number : int
        The cell's number in the notebook, as in ``In[5]``.
    compiler_flags : int
        ``from __future__`` imports that were in force in the notebook.
    lines : dict of str to int
        The line of the cell that uses each object of the notebook.
    own : tuple of str
        Variables that the cell has bound in the rank, and that objects of the notebook must not replace.
    """

    source: str
    filename: str
    number: int
    compiler_flags: int = 0
    lines: dict[str, int] = field(default_factory=dict)
    own: tuple[str, ...] = ()


@dataclass(frozen=True)
class Work:
    """One launch, the same for all ranks.

    Parameters
    ----------
    nprocs : int
        Number of ranks.
    cell : str or None
        Source of the cell; None runs the function that is sent beside this as ``(function, args)``.
    filename : str
        Name that the cell is compiled under, the same as in the notebook.
    number : int
        The cell's number in the notebook, as in ``In[5]``.
    compiler_flags : int
        ``from __future__`` imports that are in force in the notebook.
    sources : dict of str to CellSource
        Other cells by the name they were compiled under.
    collect : tuple of str
        Variables to send back after the cell.
    seed : int or None
        Makes the random state of each rank reproducible.
    threads : int or None
        Threads that numerical libraries may use in a rank; None leaves that to the environment.
    show_locals : bool
        Show the local variables of each frame in tracebacks.
    figures : dict of str to object
        The notebook's settings for inline figures, such as ``InlineBackend.figure_formats``.
    no_input_reason : str
        Why nobody can answer a question of a rank; empty if somebody can.
    hold : float
        Seconds for which a rank that has raised waits for a debugger; 0 does not wait.
    places : dict of str to str
        Files of modules that the notebook has imported, where an import in the rank would not find them.
    lines : dict of str to int
        The line of the cell that uses each object that is sent, for those that the cell names.
    settings : dict of str to dict
        Settings that the notebook has changed, by library, as `nblaunch.settings.pack_settings` returns them.
    setup : SetUp or None
        What runs first; the objects that it uses are sent before those of the cell.
    elsewhere : Elsewhere
        Names for hints in the errors of the rank.
    """

    nprocs: int = 1
    cell: str | None = None
    filename: str = "<cell>"
    number: int = 0
    compiler_flags: int = 0
    sources: dict[str, CellSource] = field(default_factory=dict)
    collect: tuple[str, ...] = ()
    seed: int | None = None
    threads: int | None = None
    show_locals: bool = False
    figures: dict[str, Any] = field(default_factory=dict)
    no_input_reason: str = "whoever launched it has not said who would"
    hold: float = 0.0
    places: dict[str, str] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    setup: SetUp | None = None
    elsewhere: Elsewhere = Elsewhere()
