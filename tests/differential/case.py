"""`Case`: what a notebook has, and what is looked at here and in ranks; and how cases are written as text.

::

    # ---- a dataclass with slots (python 3.10, needs numpy)
    @dataclass(slots=True)
    class P:
        x: int
    p = P(3)
    # %% a line like this begins the next cell
    q = P(4)
    >>> p, p.x                a value that has to be the same here and in a rank
    >>> p.x = 5               or a statement that both run
    <<< p                     what a rank returns and the notebook gets back as it is here
    !!! text of an error      instead: the launch is refused before anything starts, with these words

What stands before the first case is run once, for all cases of the text: imports mostly.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec

__all__ = ["Case", "Kind", "parse"]

_HEADING = re.compile(r"# ---- (?P<name>.*?)(?: \((?P<conditions>(?:python|needs) [^()]*)\))?")
_NEXT_CELL = re.compile(r"# %%.*")


@dataclass(frozen=True)
class Case:
    """What is set up in the notebook, and what has to be the same in ranks.

    Parameters
    ----------
    name : str
        What is tried, in words.
    cells : tuple of str
        Cells that the notebook runs.
    looks : tuple of str
        Expressions to compare, and statements that both sides run between them.
    backs : tuple of str
        Expressions whose values come back from a rank.
    refused : str
        Words of the error with which the launch is refused; empty if it is not.
    python : tuple of int
        The oldest Python that has what the case uses.
    needs : str
        A module that has to be installed, if any.
    """

    name: str
    cells: tuple[str, ...]
    looks: tuple[str, ...] = ()
    backs: tuple[str, ...] = ()
    refused: str = ""
    python: tuple[int, ...] = (3, 10)
    needs: str = ""

    def is_possible(self) -> bool:
        """Tell whether this Python has what the case uses."""
        return sys.version_info >= self.python and not (self.needs and find_spec(self.needs) is None)

    def text(self) -> str:
        """Return the case as it is written."""
        lines = [f"# ---- {self.name}", "\n# %%\n".join(self.cells)]
        lines += [">>> " + "\n... ".join(look.splitlines()) for look in self.looks]
        lines += [f"<<< {back}" for back in self.backs]
        lines += [f"!!! {self.refused}"] if self.refused else []
        return "\n".join(lines)


@dataclass(frozen=True)
class Kind:
    """Cases of one kind, and what all of them import."""

    imports: str
    cases: tuple[Case, ...] = field(repr=False)


def parse(text: str) -> Kind:
    """Read cases.

    Raises
    ------
    ValueError
        If the text is not what the docstring of this module shows.
    """
    imports: list[str] = []
    parts: list[tuple[re.Match[str], list[str]]] = []
    for line in text.strip("\n").splitlines():
        if heading := _HEADING.fullmatch(line):
            parts.append((heading, []))
        else:
            (parts[-1][1] if parts else imports).append(line)
    cases = tuple(_case(heading, lines) for heading, lines in parts)
    names = [case.name for case in cases]
    if len(set(names)) < len(names):
        raise ValueError(f"several cases have one name: {sorted(name for name in names if names.count(name) > 1)}")
    return Kind("\n".join(imports), cases)


def _case(heading: re.Match[str], lines: list[str]) -> Case:
    name = heading["name"]
    cells: list[list[str]] = [[]]
    looks: list[str] = []
    backs: list[str] = []
    refused: list[str] = []
    for line in lines:
        mark, rest = line[:4], line[4:]
        if mark == ">>> ":
            looks.append(rest)
        elif mark == "... ":
            looks[-1] += f"\n{rest}"
        elif mark == "<<< ":
            backs.append(rest)
        elif mark == "!!! ":
            refused.append(rest)
        elif looks or backs or refused:
            if line.strip():
                raise ValueError(f"case {name!r}: {line!r} comes after what is looked at")
        elif _NEXT_CELL.fullmatch(line):
            cells.append([])
        else:
            cells[-1].append(line)
    if not looks and not backs:
        raise ValueError(f"case {name!r}: nothing is looked at")
    conditions = dict(part.split(" ", 1) for part in (heading["conditions"] or "").split(", ") if part)
    return Case(
        name=name,
        cells=tuple("\n".join(cell).rstrip() for cell in cells),
        looks=tuple(looks),
        backs=tuple(backs),
        refused=" ".join(refused),
        python=tuple(map(int, conditions.get("python", "3.10").split("."))),
        needs=conditions.get("needs", ""),
    )
