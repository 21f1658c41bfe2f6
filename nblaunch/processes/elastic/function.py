"""What a rank runs for `start_processes` with a function: call it, report its value or its exception.

The value is pickled *inside* the recorded call, so that one that cannot be pickled is that rank's failure, with the
reason in its error file, like any other exception.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from multiprocessing import spawn
from typing import Any, Protocol

from nblaunch.exports import exported_by
from nblaunch.messages.reports import ErrorReport
from nblaunch.messages.values import Value
from nblaunch.payload import Packed, Stored, pack, received_classes, store_if_large, text_of, type_name, unpack, why
from nblaunch.processes.child.channel import Channel
from nblaunch.processes.child.context import Context
from nblaunch.processes.child.leaving import exit_code
from nblaunch.processes.elastic.inheritance import inheriting
from nblaunch.processes.elastic.multiprocessing_child import be_child, may_not_start_processes
from nblaunch.processes.errors import record
from nblaunch.processes.numa import bind_this_process
from nblaunch.processes.redirects import redirect_stderr, redirect_stdout

__all__ = ["get_std_cm", "importing_main", "run"]

_importing_main = False


def importing_main() -> bool:
    """Tell whether this process is a rank that is just importing the program's main module."""
    return _importing_main


class _Queue(Protocol):
    def put(self, value: Any, /) -> None: ...


class _Event(Protocol):
    def wait(self) -> object: ...


@exported_by("nblaunch.processes.api")
def get_std_cm(std_rd: str, redirect_fn: Callable[[str], AbstractContextManager[None]]) -> AbstractContextManager[None]:
    """Return ``redirect_fn(std_rd)``, or a context manager that does nothing if no file is named."""
    return redirect_fn(std_rd) if std_rd else nullcontext()


@exported_by("nblaunch.processes.api")
def _wrap(
    local_rank: int,
    fn: Callable[..., Any],
    args: Mapping[int, tuple[Any, ...]],
    envs: Mapping[int, Mapping[str, str]],
    stdout_redirects: Mapping[int, str],
    stderr_redirects: Mapping[int, str],
    ret_vals: Mapping[int, _Queue],
    queue_finished_reading_event: _Event,
    numa_options: Any = None,
) -> None:
    """Call `fn` as rank `local_rank` does it: its environment, its log files, `record`; put its value into its queue.

    A rank missing from any mapping is a KeyError before anything is changed.
    """
    arguments, env, queue = args[local_rank], envs[local_rank], ret_vals[local_rank]
    stdout = get_std_cm(stdout_redirects[local_rank], redirect_stdout)
    stderr = get_std_cm(stderr_redirects[local_rank], redirect_stderr)
    os.environ.update(env)
    with stdout, stderr:
        bind_this_process(local_rank, numa_options)
        value = record(fn)(*arguments)
    queue.put(value)
    queue_finished_reading_event.wait()


class _ValueSender:
    """A queue and an event for `_wrap` that send to the gang; nobody needs to wait until it has read."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def put(self, value: Packed | Stored | None) -> None:
        # None comes from a function that left by sys.exit(0)
        self._channel.tell(Value(pack(None) if value is None else value))

    def wait(self) -> None:
        """Return at once: the value is on its way, and a rank that has finished shall free its memory."""


def run(context: Context) -> int:
    """Entry point of a rank: run the function of the payload and return the exit code."""
    rank = context.rank_spec.rank
    payload = next(context.tasks()).payload
    # a forked rank has the very main module of its parent
    main_by_reference = bool(context.inherited or context.rank_spec.main_module or context.rank_spec.main_path)

    def call() -> Packed | Stored:
        context.let_interrupts_in()
        if context.inherited is not None:
            function, all_arguments, children, numa_options = context.inherited
            arguments = all_arguments[rank]
            be_child(children[rank], context.guard)
        else:
            children, numa_options = unpack(payload.pop(0))
            be_child(children[rank], context.guard)
            _import_main(context)
            with inheriting(context.bags):
                function, all_arguments = unpack(payload.pop())
            arguments = all_arguments[rank]
            # what others were given is closed here: a pipe ends when nobody holds its other end
            del all_arguments
        home_classes = received_classes()
        bind_this_process(rank, numa_options)
        value = function(*arguments)
        try:
            packed = pack(value, main_by_reference=main_by_reference, home_classes=home_classes, to_cpu=True)
        except Exception as error:
            raise TypeError(
                f"the value that rank {rank} returned, of type {type(value).__name__}, cannot be pickled: "
                f"{why(error)}. Return something that can be, such as numbers, arrays or a "
                "state_dict"
            ) from error
        return store_if_large(packed)

    sender = _ValueSender(context.channel)
    try:
        _wrap(rank, call, {rank: ()}, {rank: {}}, {rank: ""}, {rank: ""}, {rank: sender}, sender)
    except SystemExit as leaving:
        code = exit_code(leaving)
        if code:
            _report(context, leaving)
        else:
            sender.put(None)
        return code
    except BaseException as error:
        _report(context, error)
        with suppress(BaseException):  # parts of the exception, such as its notes, are the user's code
            traceback.print_exc()
        return -signal.SIGINT if issubclass(type(error), KeyboardInterrupt) else 1
    return 0


def _report(context: Context, error: BaseException) -> None:
    """Tell the gang at once; the whole story is in the error file, where there is one."""
    try:
        text = "".join(traceback.format_exception_only(type(error), error)).strip()
    except BaseException:
        text = why(error)
    context.channel.tell(ErrorReport(type_name(error), text_of(error), text, time.monotonic()))


def _import_main(context: Context) -> None:
    """Import the program's main module the way `multiprocessing` does for its ``spawn``."""
    global _importing_main
    rank_spec = context.rank_spec
    data = {}
    if rank_spec.main_module:
        data["init_main_from_name"] = rank_spec.main_module
    elif rank_spec.main_path:
        data["init_main_from_path"] = rank_spec.main_path
    if data:
        _importing_main = True
        try:
            with may_not_start_processes():
                spawn.prepare(data)
        finally:
            _importing_main = False
        sys.argv[:] = rank_spec.argv
