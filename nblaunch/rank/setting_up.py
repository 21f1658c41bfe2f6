"""The notebook's set-up cell (``%%multiproc --setup``), which a rank runs before the user's other code."""

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
    """Run the set-up cell on its packed objects, `data`, and return the variables that the rank keeps from it.

    `failed` makes the error for an object that cannot be rebuilt, see `nblaunch.payload.unpack_named`.

    Raises
    ------
    BaseException
        Whatever the cell raises, with a note that it was the set-up cell.
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
