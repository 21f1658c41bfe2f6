"""Names: the question that a cell is asked.

Source text flows in; an ordered mapping of names to lines, and the names that the cell binds, flow out. The cell
is walked in the order in which it runs (`flow`, `expressions`), and a ledger (`deferred`) decides which reads need
the notebook.
"""

from __future__ import annotations
import __future__

import ast
import warnings
from typing import NamedTuple

from nblaunch.capture.deferred import Cell
from nblaunch.capture.flow import Flow
from nblaunch.capture.scopes import Scope
from nblaunch.capture.texts import texts_of


class CellNames(NamedTuple):
    """The global names of a cell.

    Attributes
    ----------
    read : dict of str to int
        Names that it reads before it has certainly assigned them itself, each with the first line (counted from 1)
        that needs it, in order of appearance. Builtins are among them: only the caller knows whether the notebook has
        replaced one.
    bound : frozenset of str
        Names that its own statements bind, perhaps only on some way through it.
    in_texts : dict of str to bool
        Those that it reads which nothing but texts may name, and whether as a table only: see
        `nblaunch.payload.names_in_text` and `nblaunch.payload.names_looked_up`.
    """

    read: dict[str, int]
    bound: frozenset[str]
    in_texts: dict[str, bool]


def names_of(source: str, *, filename: str = "<cell>", future_annotations: bool = False) -> CellNames:
    """Find the global names that a cell reads and binds.

    Parameters
    ----------
    source : str
        The cell as Python, its magics already turned into calls (see `nblaunch.capture.transform`).
    filename : str
        Named in a `SyntaxError`.
    future_annotations : bool
        Whether an earlier cell ran ``from __future__ import annotations``.

    Returns
    -------
    CellNames
        What it reads, and what it binds.

    Raises
    ------
    SyntaxError
        As from `compile`.
    """
    allowed = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    future = __future__.annotations.compiler_flag if future_annotations else 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the ranks compile the cell too, and warn
        tree = compile(source, filename, "exec", allowed | future | ast.PyCF_ONLY_AST, dont_inherit=True)
        # Some errors, such as a stray `return`, are found only by compiling to the end.
        compile(source, filename, "exec", allowed | future, dont_inherit=True)
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
            future_annotations = future_annotations or any(a.name == "annotations" for a in statement.names)
    cell = Cell()
    flow = Flow(Scope("module"), cell, annotations=not future_annotations, texts=texts_of(source, tree))
    flow.block(tree.body)
    return CellNames(cell.close(flow.assigned), frozenset(flow.bound), cell.in_texts_only())
