"""``%%multiproc --setup``: runs a cell here, and from then on at the beginning of every rank."""

from __future__ import annotations

import ast
from typing import Any

from nblaunch.launching import setup_cell
from nblaunch.launching.options import Options
from nblaunch.launching.packing import pack_or_explain, select_objects
from nblaunch.launching.source import Notebook
from nblaunch.messages.work import SetUp

__all__ = ["clear_setup", "set_up", "show_setup"]


def set_up(shell: Any, source: str) -> tuple[Any, str]:
    """Run a set-up cell here and, if it does not raise, register it for every rank.

    Returns
    -------
    value, notice
        The value of the cell's last expression, and a sentence for the user, which may be empty.

    Raises
    ------
    SyntaxError
        If the cell is not Python, or has a top-level ``await``.
    CaptureError
        If something that it uses cannot be sent. The cell has not run then.
    BaseException
        Whatever the cell raises. An earlier set-up cell stays registered then.
    """
    notebook = Notebook.of(shell)
    used, lines, work = select_objects(source, Options(), notebook)
    # packed before the cell runs here and changes the objects
    objects = pack_or_explain(used, lines, notebook).frozen()
    before = dict(notebook.namespace)
    __tracebackhide__ = True
    value = _run(shell, notebook.transform(source), work.filename)
    cell = SetUp(source, work.filename, notebook.number, work.compiler_flags, {n: lines[n] for n in used if n in lines})
    replaced = setup_cell.register(cell, objects, before, notebook.namespace, notebook.provided)
    if replaced is None or replaced.cell.source == source:
        return value, ""
    return value, f"This set-up cell takes the place of that of In[{replaced.cell.number}]: there is one at a time."


def _run(shell: Any, transformed: str, filename: str) -> Any:
    __tracebackhide__ = True
    tree = shell.transform_ast(shell.compile.ast_parse(transformed, filename=filename))
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(shell.compile(tree, filename, "exec"), shell.user_ns)
    if last is None:
        return None
    value = eval(shell.compile(ast.Expression(last.value), filename, "eval"), shell.user_ns)
    return None if transformed.rstrip().endswith(";") else value


def show_setup() -> str:
    """Return the text of ``%multiproc setup``: the set-up cell."""
    registered = setup_cell.current()
    return _NONE if registered is None else registered.text()


def clear_setup() -> str:
    """Have ranks begin without a set-up cell, and return a sentence that says so."""
    removed = setup_cell.clear()
    if removed is None:
        return _NONE
    return (
        f"Ranks do not run the set-up cell In[{removed.cell.number}] any more. What it has done here stays until the "
        "kernel is restarted."
    )


_NONE = "There is no set-up cell: one begins with %%multiproc --setup."
