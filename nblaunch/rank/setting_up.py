"""The notebook's set-up cell, run in a rank before anything else of the user's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nblaunch.messages.work import SetUp
from nblaunch.payload import add_notes, unpack_named

if TYPE_CHECKING:
    from nblaunch.rank.shell import RankShell

__all__ = ["run_set_up"]


def run_set_up(
    setup: SetUp, data: Any, shell: RankShell, failed: Callable[[str, str, Exception], Exception]
) -> dict[str, Any]:
    """Run it in the namespace of the rank, and return the variables that stay as it has bound them.

    Parameters
    ----------
    setup : SetUp
        The cell.
    data : buffer or Parts
        The objects that it uses.
    shell : RankShell
        Runs it.
    failed : callable
        See `nblaunch.payload.unpack_named`.

    Raises
    ------
    BaseException
        Whatever the cell raises, with a note that says which cell it is.
    """
    try:
        namespace = shell.user_ns
        namespace.update(unpack_named(data, shared_globals=namespace, failed=failed))
        with shell.as_cell(setup.filename, setup.number, setup.compiler_flags):
            shell.run(setup.source)
    except BaseException as error:
        note = f"This is the set-up cell In[{setup.number}], which every rank runs first (%multiproc setup)."
        add_notes(error, [note])
        raise
    return {name: namespace[name] for name in setup.own if name in namespace}
