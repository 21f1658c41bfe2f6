"""Names: the question that a cell is asked.

Source text flows in, an ordered mapping of names to lines flows out. The cell is walked in the order in
which it runs (`flow`, `expressions`), and a ledger (`deferred`) decides which reads need the notebook.
"""

from __future__ import annotations
import __future__

import ast
import warnings

from nblaunch.capture.deferred import Cell
from nblaunch.capture.flow import Flow
from nblaunch.capture.scopes import Scope


def names_read(
    source: str,
    *,
    filename: str = "<cell>",
    future_annotations: bool = False,
    assigned: set[str] | None = None,
    in_texts: dict[str, bool] | None = None,
) -> dict[str, int]:
    """Find the global names that a cell reads before it has certainly assigned them itself.

    Parameters
    ----------
    source : str
        The cell as Python, its magics already turned into calls (see `nblaunch.capture.transform`).
    filename : str
        Named in a `SyntaxError`.
    future_annotations : bool
        Whether an earlier cell ran ``from __future__ import annotations``.

    assigned : set of str, optional
        Gets the names that the cell has certainly assigned when it ends.
    in_texts : dict of str to bool, optional
        Gets the names that nothing but texts may name, and whether as a table only: see `nblaunch.names_in_text`.

    Returns
    -------
    dict of str to int
        Each name with the first line (counted from 1) that needs it, in order of appearance. Builtins are
        among them: only the caller knows whether the notebook has replaced one.

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
    flow = Flow(Scope("module"), cell, annotations=not future_annotations)
    flow.block(tree.body)
    if assigned is not None:
        assigned.update(key for key in flow.assigned or () if isinstance(key, str))
    needed = cell.close(flow.assigned)
    if in_texts is not None:
        in_texts.update(cell.in_texts_only())
    return needed
