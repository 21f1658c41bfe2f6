"""`Notebook`: what a launch needs to know of the notebook or program that it comes from."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from nblaunch import capture
from nblaunch.exports import exported_by
from nblaunch.jupyter.input_box import Box, NoInput, find_box
from nblaunch.messages.work import CellSource
from nblaunch.payload.modules import module_of_globals

__all__ = ["Notebook"]


# Variables that IPython puts into a notebook, and into the shell of a rank too.
_SHELL_VARIABLES = ("get_ipython", "exit", "quit", "open", "In", "Out", "_ih", "_oh", "_dh")


@exported_by("nblaunch")
@dataclass(frozen=True)
class Notebook:
    """The variables and cells of a notebook or program.

    Parameters
    ----------
    namespace : dict
        The notebook's variables.
    provided : mapping of str to object
        Variables that a rank has anyway, such as ``get_ipython``. They are not sent.
    number : int
        Number of the cell that launches, as in ``In[5]``.
    transform : callable
        Turns a cell with magics into Python.
    name_cell : callable
        Returns the file name for compiling a cell, and registers its lines for tracebacks.
    numbers : mapping of str to int
        Numbers of the cells by the file names that they were compiled under.
    compiler_flags : int
        Flags of the ``from __future__`` imports in force.
    figures : dict of str to object
        Settings of inline figures, such as ``InlineBackend.figure_formats``.
    magics : mapping of str to mapping
        The shell's magics by name, for each kind: ``line`` and ``cell``.
    box : Box or NoInput
        Where whoever runs the cell or program can be asked.
    """

    namespace: dict[str, Any]
    provided: Mapping[str, object] = field(default_factory=dict)
    number: int = 0
    transform: Callable[[str], str] = capture.transform
    name_cell: Callable[[str], str] = lambda _: "<cell>"
    numbers: Mapping[str, int] = field(default_factory=dict)
    compiler_flags: int = 0
    figures: dict[str, Any] = field(default_factory=dict)
    magics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    box: Box | NoInput = field(default_factory=find_box)

    @classmethod
    def here(cls, caller: dict[str, Any] | None = None) -> Notebook:
        """Return the notebook of this process, or its main module as one.

        Parameters
        ----------
        caller : dict, optional
            The globals of the code that launches. They are the namespace if they belong to no module, but to `exec` or
            a script that another program runs (``%run``, cProfile, doctest).
        """
        # not imported, because a plain program does not need IPython
        ipython = sys.modules.get("IPython")
        # without get_ipython if another thread is importing IPython just now
        shell = getattr(ipython, "get_ipython", lambda: None)()
        found = cls.of(shell) if shell is not None else cls(sys.modules["__main__"].__dict__)
        homes = [found.namespace, getattr(shell, "user_ns", None), getattr(shell, "user_global_ns", None)]
        if caller is None or any(caller is home for home in homes) or module_of_globals(caller) is not None:
            return found
        return replace(found, namespace=caller)

    @classmethod
    def of(cls, shell: Any) -> Notebook:
        """Return the notebook that an IPython shell runs."""
        # not execution_count, which IPython 9 increments before the cell runs and IPython 8 after it
        number = max(0, len(shell.history_manager.input_hist_parsed) - 1)
        # private in IPython: cell numbers by file name, for "Cell In[5]" in tracebacks
        table: dict[str, int] | None = getattr(shell.compile, "_filename_map", None)

        def name_cell(transformed: str) -> str:
            name = str(shell.compile.cache(transformed, number))
            if table is None:
                _NUMBERS_OF_LAUNCHED[name] = number
            return name

        return cls(
            # in IPython.embed, user_ns has the locals of a function, and user_global_ns the globals of its module
            namespace=shell.user_ns
            if shell.user_ns is shell.user_global_ns
            else {**shell.user_global_ns, **shell.user_ns},
            provided={name: shell.user_ns[name] for name in _SHELL_VARIABLES if name in shell.user_ns},
            number=number,
            transform=shell.transform_cell,
            name_cell=name_cell,
            numbers=_NumbersByText(shell.history_manager.input_hist_parsed) if table is None else table,
            compiler_flags=shell.compile.flags,
            figures=_figure_settings(),
            magics=shell.magics_manager.magics,
        )

    def own_magics(self) -> list[str]:
        """Return the names of magics that neither IPython nor nblaunch defines."""
        known = ("IPython.core.", "ipykernel.", "nblaunch.")
        return [
            name
            for magics in self.magics.values()
            for name, function in list(magics.items())
            if not _module_of(function).startswith(known)
        ]

    def sources(self, filenames: Iterable[str]) -> dict[str, CellSource]:
        """Return number and lines of each cell among some files, by file name."""
        found = {}
        for name in filenames:
            lines = linecache.getlines(name) if name in self.numbers else []
            if lines:
                found[name] = CellSource(self.numbers[name], tuple(lines))
        return found


# On IPython 7, numbers of the cells that were launched, by file name. The history has their text with the magic's line,
# so they cannot be found there.
_NUMBERS_OF_LAUNCHED: dict[str, int] = {}


class _NumbersByText(Mapping[str, int]):
    """Numbers of cells by file name on IPython 7, which has no such table: that of the last cell with the same text.

    Parameters
    ----------
    history : list of str
        The cells as Python, by number.
    """

    def __init__(self, history: list[str]) -> None:
        self._history = history

    def __getitem__(self, name: str) -> int:
        # private in IPython: the lines of cells; a file that is not in there is no cell
        lines = getattr(linecache, "_ipython_cache", {}).get(name, (0, None, ()))[2]
        number = _NUMBERS_OF_LAUNCHED.get(name) or self._numbers.get("".join(lines).rstrip("\n"), 0)
        if not number:
            raise KeyError(name)
        return number

    def __iter__(self) -> Iterator[str]:
        return (name for name in list(getattr(linecache, "_ipython_cache", ())) if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {text.rstrip("\n"): number for number, text in enumerate(self._history) if text.strip()}


def _module_of(magic: Any) -> str:
    """Return the name of the module that defines a magic; empty for an alias, which its user has made."""
    if type(magic).__name__ == "MagicAlias":
        return ""
    owner = getattr(magic, "__self__", None)
    module = getattr(magic if owner is None else type(owner), "__module__", "")
    return module if isinstance(module, str) else ""


def _figure_settings() -> dict[str, Any]:
    module: Any = sys.modules.get("matplotlib_inline.config")
    if module is None or not module.InlineBackend.initialized():
        return {}
    settings = module.InlineBackend.instance()
    return {name: getattr(settings, name) for name in ("figure_formats", "print_figure_kwargs", "close_figures", "rc")}
