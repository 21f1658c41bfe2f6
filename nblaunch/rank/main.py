"""The whole life of a rank that runs a cell or a function for `nblaunch.launch`.

::

    payload ─► Work, notebook objects ─► shell or function ─┬─► Value: value, collected variables
                                                          ├─► ErrorReport: exception, traceback, … + error.json
                                                          └─► Display before that, see `nblaunch.rank.displays`
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from nblaunch.messages.imports import HeavyImports
from nblaunch.messages.reports import ErrorReport, HeldReport
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
    relatives,
    shortened,
    store_if_large,
    text_of,
    traceback_of,
    type_name,
    unpack,
    unpack_named,
    why,
)
from nblaunch.processes.child.context import Context, Task
from nblaunch.processes.child.leaving import exit_code
from nblaunch.processes.errors import get_error_handler
from nblaunch.processes.threads import limit_threads
from nblaunch.rank.asker import PACKAGE, Asker
from nblaunch.rank.asking import end_tracebacks_at_questions, listen_to_people
from nblaunch.rank.bars import use_text_bars
from nblaunch.rank.found_modules import find_modules_at
from nblaunch.rank.full_disks import name_full_disk
from nblaunch.rank.heavy_imports import heavy_imports
from nblaunch.rank.hints import add_hints
from nblaunch.rank.hook_numbers import count_hooks_apart
from nblaunch.rank.launched import be_launched
from nblaunch.rank.main_module import find_by_name
from nblaunch.rank.randomness import seed_everything
from nblaunch.rank.setting_up import run_set_up
from nblaunch.rank.settings import apply_settings
from nblaunch.rank.variables import local_variables
from nblaunch.rank.write_order import note_write_order

if TYPE_CHECKING:
    from nblaunch.rank.shell import RankShell

__all__ = ["prepare", "prepare_thoroughly", "run"]


# Python rewrites code when it has run some times (PEP 659); what is rewritten ahead, no rank has to copy and rewrite.
_REHEARSALS = 16
# Bytes that all ranks together may return without anybody asking how much memory there is.
_LITTLE = 16 << 20


def prepare() -> None:
    """Warm up a process that ranks are forked from: import IPython, make its shell, and fill every cache."""
    _make_shell()
    for _ in range(_REHEARSALS):
        rehearse()


def prepare_thoroughly() -> None:
    """Do the same in one that lives long, tracebacks included.

    The first one that a process makes takes ten times as long as the next ones, which a person who has stopped ranks
    waits for: it imports and compiles much, and parses the files of all its frames.
    """
    prepare()
    shell = _make_shell()
    # through the module in which ranks wait most often
    work = Work(cell="import threading\nthreading.Event().wait('not a number')", filename="<rehearsal>")
    assert work.cell is not None
    shell.prepare_for(work)
    try:
        shell.run(work.cell)
    except TypeError as error:
        _render(error, shell)
    finally:
        shell.forget(work.filename)


def rehearse(context: Context | None = None) -> None:
    """Do what a rank does, without a trace, in a process that waits to be one: its page faults are behind it then."""
    shell = _make_shell() if "nblaunch.rank.shell" in sys.modules else None
    work: Work = unpack(bytes(pack(Work(cell="None" if shell else None, filename="<rehearsal>"))))
    seed_everything(None, 0)
    if shell is not None:
        shell.prepare_for(work)
        shell.rehearse_display(None if context is None else context.channel)
    try:
        travelled = unpack_named(bytes(pack_named({"function": int})))
        packed = _work(work, travelled, {}, 0, shell, received_classes())
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
        # what a rank that stays has failed of was told; it was not the end of its process
        return 0 if context.rank_spec.stays else code
    finally:
        # what threads and atexit functions still display is printed: the channel closes
        if "nblaunch.rank.shell" in sys.modules:
            _make_shell().display_over(None)


def _set_up_process() -> None:
    """Do what is done once in a process, whatever it is given to do."""
    get_error_handler().initialize()
    count_hooks_apart()
    use_text_bars()
    be_launched()


def _run_task(context: Context, task: Task) -> int:
    rank = context.rank_spec.rank
    shell: RankShell | None = None
    # classes that came from the notebook; what the cell pickles or defines later does not belong to them
    home_classes: frozenset[str] = frozenset()
    # numbers of the notebook's cells by file name, if variables are to be shown
    cells: dict[str, int] | None = None
    asker: Asker | None = None
    work, namespace = Work(), {}
    try:
        if task.number == 0:
            _set_up_process()
        # taken out of the task, so that their memory goes when the objects do
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
        # for the set-up cell, and for functions that find them in globals of their own
        namespace.update(rank=rank, local_rank=rank, world_size=work.nprocs)
        # before objects are rebuilt: JAX makes an array of 64 bits only where it was told to
        apply_settings(work.settings, namespace)
        own: dict[str, Any] = {}
        if work.setup is not None and shell is not None:
            context.let_interrupts_in()
            failed = partial(_not_rebuilt, work.setup)
            own = run_set_up(work.setup, task.payload.pop(0), shell, failed)
        by_name: dict[str, Any] = {}
        travelled = unpack_named(
            task.payload.pop(0), shared_globals=namespace, main_names=by_name, failed=partial(_not_rebuilt, work)
        )
        namespace.update(own)
        travelled.update({name: value for name, value in own.items() if name in travelled})
        find_by_name(by_name, os.path.dirname(task.stdout))
        home_classes = received_classes()
        context.let_interrupts_in()
        # the folder that holds those of the ranks' logs
        meeting_point = os.path.dirname(os.path.dirname(task.stdout))
        modules = frozenset(sys.modules)
        packed = _work(work, travelled, namespace, rank, shell, home_classes, meeting_point)
        if len(sys.modules) > len(modules):
            heavy = heavy_imports(modules)
            if heavy:
                context.channel.tell(HeavyImports(tuple(heavy)))
    except BaseException as error:
        _stop_tracing(error)
        hints: list[str] = []
        with contextlib.suppress(Exception):  # of anybody's class, with a text of its own making
            hints = add_hints(error, work, namespace)
        return _report_failure(context, task, error, shell, home_classes, asker, cells, hints)
    context.channel.tell(Value(packed))
    return 0


def _not_rebuilt(work: Work | SetUp, name: str, kind: str, error: Exception) -> Exception:
    """Return the error that names an object which has arrived, and whose own code then fails."""
    BaseException.with_traceback(error, _without_this_module(error))
    line = f", which line {work.lines[name]} uses," if name in work.lines else ""
    return NotRebuilt(
        f"'{name}'{line} has arrived in the rank but cannot be rebuilt there: it is, or holds, something whose own "
        f"code fails then ({why(error)}). It is a {kind}: make it inside the cell, or see what its class does when it "
        "is unpickled (__new__, __setstate__, __getattr__, __hash__)"
    )


def _has_shell() -> bool:
    """Tell whether something that is displayed would go to a shell; in a fork of a notebook's process to that one's."""
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


def _work(
    work: Work,
    travelled: dict[str, Any],
    namespace: dict[str, Any],
    rank: int,
    shell: RankShell | None,
    home_classes: frozenset[str],
    meeting_point: str = "",
) -> Packed | Stored:
    if work.cell is not None:
        namespace.update(travelled)
        travelled.clear()
    # after the notebook's own variables, which may have the same names
    namespace.update(rank=rank, local_rank=rank, world_size=work.nprocs)
    if work.threads is not None:
        limit_threads(work.threads)
    value = None
    try:
        if work.cell is not None:
            assert shell is not None
            value = shell.run(work.cell)
        else:
            function, *args = travelled.values()
            value = function(*args)
            _flush_figures()
    except SystemExit as leaving:
        if leaving.code not in (None, 0):
            raise
    _stop_tracing()
    packed = _pack_value(value, _collect(work.collect, namespace), home_classes)
    with _one_at_a_time_if_short(packed.size, work.nprocs, meeting_point):
        return store_if_large(packed)


def _stop_tracing(error: BaseException | None = None) -> None:
    """Leave the debugger, if there is one: what follows is not the user's code."""
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
def _one_at_a_time_if_short(size: int, nprocs: int, meeting_point: str) -> Iterator[None]:
    """Let ranks store what they return in turn, where memory is too short for all of them to store as much.

    Each then sees what the others have left, and the one for which it is not enough says so. All at once would see the
    same free memory, and use more than there is.
    """
    if not meeting_point or size * nprocs <= _LITTLE or size * nprocs <= available_memory():
        yield
        return
    folder = os.open(meeting_point, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # goes with this process, however it ends
        yield
    finally:
        os.close(folder)


def _pack_value(value: object, collected: dict[str, Any], home_classes: frozenset[str]) -> Packed:
    try:
        packed = pack_named({VALUE: value, **collected}, home_classes=home_classes, to_cpu=True)
        with contextlib.suppress(Exception):  # a stream of the user's own, or none
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


def _report_failure(
    context: Context,
    task: Task,
    error: BaseException,
    shell: RankShell | None,
    home_classes: frozenset[str],
    asker: Asker | None,
    cells: dict[str, int] | None,
    hints: list[str],
) -> int:
    if os.getpid() != context.pid:
        traceback.print_exception(error)  # of a process that the cell has forked, not of the rank
        return 1
    error = BaseException.with_traceback(error, _without_this_module(error))
    with contextlib.suppress(Exception):  # attributes of anybody's class may do anything
        end_tracebacks_at_questions(error)
    if task.stdout:
        name_full_disk(error, os.path.dirname(os.path.dirname(task.stdout)))
    # first what takes long: the report shall follow the error file at once
    text = _render(error, shell)
    # not all ways of rendering show notes, above all in Python 3.10
    text = "\n".join([text.rstrip(), *(hint for hint in hints if hint not in text)]) if hints else text
    if cells is not None:
        with contextlib.suppress(BaseException):  # values may do anything when they are looked at
            text = f"{text.rstrip()}\n\n{local_variables(error.__traceback__, cells)}".rstrip()
    raised_at = time.monotonic()
    if asker is not None and asker.hold:
        from nblaunch.rank.debugging import debug_failure, is_held

        if is_held(error):
            # for the case that it does not live to report it
            context.channel.tell(HeldReport.of(error, text, home_classes=home_classes, raised_at=raised_at))
            debug_failure(error, text, asker)
    get_error_handler().record_exception(error)
    context.channel.tell(ErrorReport.of(error, text, home_classes=home_classes, raised_at=raised_at))
    # by its type: what an exception says of itself, ``__class__`` for example, may fail
    if issubclass(type(error), SystemExit):
        return exit_code(cast("SystemExit", error))
    return -signal.SIGINT if issubclass(type(error), KeyboardInterrupt) else 1


def _without_this_module(error: BaseException) -> Any:
    tb = traceback_of(error)
    # nothing is left of an error that this module itself raises, about a value that cannot be sent for example
    while tb is not None and tb.tb_frame.f_code.co_filename.startswith(PACKAGE):
        tb = tb.tb_next
    return tb


# Characters of a message, and of a traceback with those of all that it was raised from. Formatting takes seconds for
# millions of them, and nobody reads them: the exception itself has its whole text.
_MAX_MESSAGE_CHARACTERS = 20_000
_MAX_TRACEBACK_CHARACTERS = 400_000
# Exceptions that are shown with what they were raised from.
_SHOWN_RELATIVES = 20


def _render(error: BaseException, shell: RankShell | None) -> str:
    text = text_of(error)
    if len(text) > _MAX_MESSAGE_CHARACTERS or len(relatives(error)) > _SHOWN_RELATIVES:
        # IPython would format all of it
        alone = type(type_name(error), (Exception,), {"__module__": "builtins"})(
            shortened(text, _MAX_MESSAGE_CHARACTERS)
        )
        error = alone.with_traceback(traceback_of(error))
    rendered = _format(error, shell)
    return shortened(rendered, _MAX_TRACEBACK_CHARACTERS)


def _format(error: BaseException, shell: RankShell | None) -> str:
    # an exception whose own text or parts fail defeats IPython's formatter; the standard one copes with more
    with contextlib.suppress(BaseException):
        if shell is not None and traceback_of(error) is not None:
            return shell.render(error)
    with contextlib.suppress(BaseException):
        return "".join(traceback.format_exception(error))
    return "".join(traceback.format_tb(traceback_of(error))) + why(error)
