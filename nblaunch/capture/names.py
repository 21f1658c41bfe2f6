"""`names_of`: which global names a cell reads and binds.

The cell is walked in the order in which it runs (`flow`, `expressions`), and a ledger (`deferred`) decides which reads
need the notebook.
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
        Names that the cell may read before it has assigned them itself, in order of appearance, each with the first
        line (counted from 1) that reads it. Builtins are included: only the caller knows whether the notebook has
        replaced one.
    bound : frozenset of str
        Names that the cell's own statements may bind.
    in_texts : dict of str to bool
        The names in `read` that only texts may mean, and whether as a table only: see
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
        # some errors, such as a `return` outside a function, are found only by compiling to the end
        compile(source, filename, "exec", allowed | future, dont_inherit=True)
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
            future_annotations = future_annotations or any(a.name == "annotations" for a in statement.names)
    cell = Cell()
    flow = Flow(Scope("module"), cell, annotations=not future_annotations, texts=texts_of(source, tree))
    flow.block(tree.body)
    return CellNames(cell.close(flow.assigned), frozenset(flow.bound), cell.in_texts_only())
