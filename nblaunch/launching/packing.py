"""Selects and packs what is sent to the ranks: the objects that a cell uses, or a function and its arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nblaunch import capture as _capture
from nblaunch.launching.elsewhere import cell_that_had, variables_elsewhere
from nblaunch.launching.options import Options
from nblaunch.launching.source import Notebook
from nblaunch.messages.work import Work
from nblaunch.payload import WORTH_TRYING, Packed, pack, pack_named, try_rebuilding
from nblaunch.payload.names_in_text import is_meant
from nblaunch.settings import changed_settings, pack_settings
from nblaunch.wording import RANK_NAMES

__all__ = ["pack_or_explain", "select_objects", "settings_that_travel"]


def select_objects(
    fn_or_source: Callable[..., Any] | str, options: Options, notebook: Notebook
) -> tuple[dict[str, Any], Mapping[str, int], Work]:
    """Return the objects to send by name, the lines of the cell that use them, and the first fields of the `Work`."""
    if isinstance(fn_or_source, str):
        objects, lines, work = _of_cell(fn_or_source, options, notebook)
    else:
        objects = {getattr(fn_or_source, "__name__", "the function"): fn_or_source}
        objects |= {f"args[{i}]": argument for i, argument in enumerate(options.args)}
        lines, work = {}, Work(elsewhere=variables_elsewhere(notebook, "", (), "function"))
    return objects, lines, work


def _of_cell(source: str, options: Options, notebook: Notebook) -> tuple[dict[str, Any], Mapping[str, int], Work]:
    transformed = notebook.transform(source)
    filename = notebook.name_cell(transformed)
    names = _names(transformed, filename, notebook)
    lines = names.read
    objects = _select({} if options.no_capture else lines, options.capture, notebook)
    work = Work(
        cell=source,
        filename=filename,
        compiler_flags=notebook.compiler_flags,
        elsewhere=variables_elsewhere(notebook, source, names.bound, "launch", options.no_capture),
    )
    return objects, lines, work


def _names(transformed: str, filename: str, notebook: Notebook) -> _capture.CellNames:
    import __future__

    future = bool(notebook.compiler_flags & __future__.annotations.compiler_flag)
    names = _capture.names_of(transformed, filename=filename, future_annotations=future)
    for name, as_table in names.in_texts.items():
        if name in notebook.namespace and not _may_be_meant(notebook.namespace[name], as_table, notebook):
            del names.read[name]
    return names


def _may_be_meant(value: Any, as_table: bool, notebook: Notebook) -> bool:
    """Tell whether to send a variable that a text may mean; one that cannot be pickled is left out without an error."""
    if not is_meant(value, as_table=as_table):
        return False
    try:
        pack(value, shared_globals=notebook.namespace, provided=notebook.provided)
    except (Exception, SystemExit):  # a user's __reduce__ may raise anything
        return False
    return True


def _select(lines: Mapping[str, int], capture: tuple[str, ...], notebook: Notebook) -> dict[str, Any]:
    namespace = notebook.namespace
    missing = [name for name in capture if name not in namespace]
    if missing:
        cell = cell_that_had(missing[0])
        had = "" if cell is None else f". Ranks of {f'cell In[{cell}]' if cell else 'an earlier cell'} had it and ended"
        raise NameError(
            f"--capture names {', '.join(map(repr, missing))}, which the notebook does not define: "
            f"define it first or leave it out{had}"
        )
    needed = [
        name
        for name in lines
        if name in namespace
        and name not in RANK_NAMES
        and not (name in notebook.provided and namespace[name] is notebook.provided[name])
    ]
    return {name: namespace[name] for name in (*needed, *capture)}


def pack_or_explain(objects: Mapping[str, Any], lines: Mapping[str, int], notebook: Notebook) -> Packed:
    """Pack objects by name.

    Raises
    ------
    CaptureError
        If an object cannot be sent; it says where the object is used and what can be done.
    """

    def why(thing: Any) -> BaseException | None:
        try:
            if pack(thing, shared_globals=notebook.namespace, provided=notebook.provided).unusual:
                try_rebuilding(thing, notebook.namespace, notebook.provided)
        except (Exception, SystemExit) as error:  # a user's __reduce__ may raise anything
            return error
        return None

    try:
        packed = pack_named(objects, shared_globals=notebook.namespace, provided=notebook.provided)
        for name in packed.unusual:
            if packed.sizes[name] <= WORTH_TRYING:
                try_rebuilding(objects[name], notebook.namespace, notebook.provided)
        return packed
    except (Exception, SystemExit) as error:
        raise _capture.explain(objects, lines, why) from error


def settings_that_travel(options: Options, notebook: Notebook) -> tuple[dict[str, dict[str, Any]], tuple[str, ...]]:
    """Return the changed settings of libraries, packed, and sentences about those that cannot be sent."""
    if not options.settings:
        return {}, ()
    found, unread = changed_settings()
    if not found:
        return {}, unread
    sent, unsent = pack_settings(found, notebook.namespace, notebook.provided)
    return sent, (*unread, *unsent)
