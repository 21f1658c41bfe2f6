"""The whole life of a rank that runs a cell or a function for `nblaunch.launch`.

::

    payload ─► Work, notebook objects ─► shell or function ─┬─► Value: value, collected variables
                                                          ├─► or ErrorReport, see `nblaunch.rank.failure_report`
                                                          └─► Display before that, see `nblaunch.rank.displays`
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from nblaunch.messages.imports import HeavyImports
from nblaunch.messages.values import Value
from nblaunch.messages.work import VALUE, SetUp, Work
from nblaunch.payload import (
    NotRebuilt,
    Packed,
    Stored,
    WorksInRanksOnly,
    available_memory,
    pack,
    pack_named,
    received_classes,
    store_if_large,
    text_of,
    unpack,
    unpack_named,
    why,
)
from nblaunch.processes.child.context import Context, Task
from nblaunch.processes.errors import get_error_handler
from nblaunch.processes.threads import limit_threads
from nblaunch.rank.asker import Asker
from nblaunch.rank.asking import listen_to_people
from nblaunch.rank.bars import use_text_bars
from nblaunch.rank.failure_report import render, report_failure, traceback_in_users_code
from nblaunch.rank.found_modules import find_modules_at
from nblaunch.rank.heavy_imports import heavy_imports
from nblaunch.rank.hints import add_hints
from nblaunch.rank.hook_numbers import separate_hook_numbers
from nblaunch.rank.interactivity import hide_interactivity
from nblaunch.rank.main_module import find_by_name
from nblaunch.rank.randomness import seed_everything
from nblaunch.rank.setting_up import run_set_up
from nblaunch.rank.settings import apply_settings
from nblaunch.rank.write_order import note_write_order

if TYPE_CHECKING:
    from nblaunch.rank.shell import RankShell

__all__ = ["prepare", "prepare_thoroughly", "rehearse", "run"]

# Python specializes code that has run a few times (PEP 659). Done here, it is done before ranks are forked, and no rank
# has to copy those pages and do it again.
_REHEARSALS = 16
# Bytes that all ranks together may return without a check of how much memory is free.
_UNCHECKED_BYTES = 16 << 20


def prepare() -> None:
    """Warm up a process that ranks are forked from: import IPython, make its shell, and fill the caches of both."""
    _make_shell()
    for _ in range(_REHEARSALS):
        rehearse()


def prepare_thoroughly() -> None:
    """Do what `prepare` does, and format a traceback, in a process that ranks of many runs are forked from.

    The first traceback takes ten times as long as the next ones, because formatting imports and compiles much, and
    parses the files of all frames. A person who stops ranks waits for their tracebacks.
    """
    prepare()
    shell = _make_shell()
    # a traceback through `threading`, because that is where ranks wait most often when they are stopped
    work = Work(cell="import threading\nthreading.Event().wait('not a number')", filename="<rehearsal>")
    assert work.cell is not None
    shell.prepare_for(work)
    try:
        shell.run(work.cell)
    except TypeError as error:
        render(error, shell)
    finally:
        shell.forget(work.filename)


def rehearse(context: Context | None = None) -> None:
    """Do an empty task and leave no trace: its page faults happen now, before the process becomes a rank."""
    shell = _make_shell() if "nblaunch.rank.shell" in sys.modules else None
    work: Work = unpack(bytes(pack(Work(cell="None" if shell else None, filename="<rehearsal>"))))
    seed_everything(None, 0)
    if shell is not None:
        shell.prepare_for(work)
        shell.rehearse_display(None if context is None else context.channel)
    try:
        objects = unpack_named(bytes(pack_named({"function": int})))
        packed = _run_and_pack(work, objects, {}, 0, shell, received_classes())
        if context is not None:
            context.channel.tell(Value(packed))
    finally:
        if shell is not None:
            shell.forget(work.filename)


def run(context: Context) -> int:
    """Entry point of a rank: do each task, report what came of it, and return the exit code."""
    code = 0
    try:
        for task in context.tasks():
            code = _run_task(context, task)
        # a rank that stays for more tasks has reported its failures, and its process ends well
        return 0 if context.rank_spec.stays else code
    finally:
        # the channel closes now: what threads and atexit functions still display is printed
        if "nblaunch.rank.shell" in sys.modules:
            _make_shell().display_over(None)


def _set_up_process() -> None:
    """Configure what does not depend on the task, once in a process."""
    get_error_handler().initialize()
    separate_hook_numbers()
    use_text_bars()
    hide_interactivity()


def _run_task(context: Context, task: Task) -> int:
    rank = context.rank_spec.rank
    shell: RankShell | None = None
    # classes that came from the notebook; read before the cell runs, because it may unpickle or define others
    home_classes: frozenset[str] = frozenset()
    # numbers of the notebook's cells by file name; None unless a traceback is to show local variables
    cells: dict[str, int] | None = None
    asker: Asker | None = None
    work, namespace = Work(), {}
    try:
        if task.number == 0:
            _set_up_process()
        # taken out of the task, which would otherwise hold the memory of the objects until it has ended
        work = unpack(task.payload.pop(0))
        if work.show_locals:
            cells = {work.filename: work.number} | {name: source.number for name, source in work.sources.items()}
        seed_everything(work.seed, rank)
        note_write_order(task.stdout, task.stderr)
        asker = Asker(rank, context.channel, work.no_input_reason, work.hold)
        listen_to_people(asker)
        if _has_shell():
            _make_shell().display_over(context.channel)
        if work.cell is not None or work.sources or work.setup is not None:
            shell = _make_shell()
            shell.display_over(context.channel)
        namespace = _namespace(work, shell)
        find_modules_at(work.places)
        # the set-up cell may use them, and so may functions of the notebook, whose globals these are
        namespace.update(rank=rank, local_rank=_local_rank(rank), world_size=work.nprocs)
        # before objects are rebuilt: JAX makes an array of 64 bits only after the setting that allows it
        apply_settings(work.settings, namespace)
        from_setup: dict[str, Any] = {}
        if work.setup is not None and shell is not None:
            context.let_interrupts_in()
            from_setup = run_set_up(work.setup, task.payload.pop(0), shell, partial(_not_rebuilt, work.setup))
        by_name: dict[str, Any] = {}
        objects = unpack_named(
            task.payload.pop(0), shared_globals=namespace, main_names=by_name, failed=partial(_not_rebuilt, work)
        )
        namespace.update(from_setup)
        objects.update({name: value for name, value in from_setup.items() if name in objects})
        find_by_name(by_name, os.path.dirname(task.stdout))
        home_classes = received_classes()
        context.let_interrupts_in()
        # the folder above the rank's own, which the ranks have in common
        logs = os.path.dirname(os.path.dirname(task.stdout))
        modules = frozenset(sys.modules)
        packed = _run_and_pack(work, objects, namespace, rank, shell, home_classes, logs)
        if len(sys.modules) > len(modules):
            heavy = heavy_imports(modules)
            if heavy:
                context.channel.tell(HeavyImports(tuple(heavy)))
    except BaseException as error:
        _stop_tracing(error)
        hints: list[str] = []
        with contextlib.suppress(Exception):  # the text of a user's exception may raise
            hints = add_hints(error, work, namespace)
        return report_failure(context, task, error, shell, home_classes, asker, cells, hints)
    context.channel.tell(Value(packed))
    return 0


def _not_rebuilt(work: Work | SetUp, name: str, kind: str, error: Exception) -> Exception:
    """Return an error that names an object whose own code fails when it is unpickled, and says what to do."""
    BaseException.with_traceback(error, traceback_in_users_code(error))
    line = f", which line {work.lines[name]} uses," if name in work.lines else ""
    return NotRebuilt(
        f"'{name}'{line} has arrived in the rank but cannot be rebuilt there: it is, or holds, something whose own "
        f"code fails then ({why(error)}). It is a {kind}: make it inside the cell, or see what its class does when it "
        "is unpickled (__new__, __setstate__, __getattr__, __hash__)"
    )


def _has_shell() -> bool:
    """Tell whether IPython has a shell here, to which displays go; in a fork of the notebook it is the notebook's."""
    module: Any = sys.modules.get("IPython.core.interactiveshell")
    return module is not None and bool(module.InteractiveShell.initialized())


def _make_shell() -> RankShell:
    from nblaunch.rank.shell import RankShell

    return RankShell.create()


def _namespace(work: Work, shell: RankShell | None) -> dict[str, Any]:
    if shell is None:
        return sys.modules["__main__"].__dict__
    shell.prepare_for(work)
    namespace: dict[str, Any] = shell.user_ns
    return namespace


def _run_and_pack(
    work: Work,
    objects: dict[str, Any],
    namespace: dict[str, Any],
    rank: int,
    shell: RankShell | None,
    home_classes: frozenset[str],
    logs: str = "",
) -> Packed | Stored:
    """Run the cell or function on the objects of the notebook, and return its value and collected variables packed."""
    if work.cell is not None:
        namespace.update(objects)
        # the cell alone decides how long they live
        objects.clear()
    # after the notebook's variables, which may have the same names
    namespace.update(rank=rank, local_rank=_local_rank(rank), world_size=work.nprocs)
    if work.threads is not None:
        limit_threads(work.threads)
    value = None
    try:
        if work.cell is not None:
            assert shell is not None
            value = shell.run(work.cell)
        else:
            function, *args = objects.values()
            value = function(*args)
            _flush_figures()
    except SystemExit as leaving:
        if leaving.code not in (None, 0):
            raise
    _stop_tracing()
    packed = _pack_value(value, _collect(work.collect, namespace), home_classes)
    with _one_at_a_time_if_short(packed.size, _ranks_here(work.nprocs), logs):
        return store_if_large(packed)


def _local_rank(rank: int) -> int:
    # without the variable, which a gang sets whose ranks may be on several nodes, all are on this one
    return int(os.environ.get("LOCAL_RANK", rank))


def _ranks_here(nprocs: int) -> int:
    return int(os.environ.get("LOCAL_WORLD_SIZE", nprocs))


def _stop_tracing(error: BaseException | None = None) -> None:
    """Stop the debugger, if there is one, because no more code of the user's runs."""
    debugging: Any = sys.modules.get("nblaunch.rank.debugging")
    if debugging is not None:
        debugging.stop_tracing()
        if error is not None:
            debugging.make_readable(error)


def _flush_figures() -> None:
    """Show the figures that a function has left open, as the end of a cell does."""
    backend: Any = sys.modules.get("matplotlib_inline.backend_inline")
    if backend is not None:
        backend.flush_figures()


def _collect(names: tuple[str, ...], namespace: dict[str, Any]) -> dict[str, Any]:
    for name in names:
        if name not in namespace:
            raise NameError(
                f"there is no variable {name!r} to collect: the cell did not assign it, and --collect names it"
            )
    return {name: namespace[name] for name in names}


@contextlib.contextmanager
def _one_at_a_time_if_short(size: int, nprocs: int, logs: str) -> Iterator[None]:
    """Let ranks store what they return one after the other, if memory would not hold as much of all of them.

    Each rank then sees how much memory the others have left, and raises if that is not enough. All at once would see
    the same free memory, and together use more than there is. They take turns by a lock on the folder of their logs.
    """
    if not logs or size * nprocs <= _UNCHECKED_BYTES or size * nprocs <= available_memory():
        yield
        return
    folder = os.open(logs, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # released by the kernel if this process is killed
        yield
    finally:
        os.close(folder)


def _pack_value(value: object, collected: dict[str, Any], home_classes: frozenset[str]) -> Packed:
    try:
        packed = pack_named({VALUE: value, **collected}, home_classes=home_classes, to_cpu=True)
        with contextlib.suppress(Exception):  # the user may have replaced or closed the stream
            sys.stderr.writelines(f"{notice}\n" for notice in packed.notices)
        return packed
    except Exception as error:
        found = _first_unpicklable({VALUE: value}) or _first_unpicklable(
            {f"the collected variable {name!r}": variable for name, variable in collected.items()}
        )
        culprit, reason = found or ("what this rank sends back", error)
        if isinstance(reason, WorksInRanksOnly):
            raise TypeError(f"{culprit} cannot be sent back: {reason}") from None
        raise TypeError(
            f"{culprit} cannot be sent back: {type(reason).__name__}: {text_of(reason).rstrip('.')}. End the cell with "
            "something that can be pickled, such as numbers, arrays or a state_dict, or with a semicolon for no value"
        ) from None


def _first_unpicklable(candidates: dict[str, Any]) -> tuple[str, Exception] | None:
    for label, candidate in candidates.items():
        try:
            pack(candidate, to_cpu=True)
        except Exception as error:
            return f"{label}, a {type(candidate).__name__},", error
    return None
