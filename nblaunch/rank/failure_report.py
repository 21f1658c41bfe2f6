"""The report of a failed rank: its traceback as text, its error file, and the `ErrorReport` for the notebook."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import traceback
from types import TracebackType
from typing import TYPE_CHECKING, cast

from nblaunch.messages.reports import ErrorReport, HeldReport
from nblaunch.payload import relatives, shortened, text_of, traceback_of, type_name, why
from nblaunch.processes.child.context import Context, Task
from nblaunch.processes.child.leaving import exit_code
from nblaunch.processes.errors import get_error_handler
from nblaunch.rank.asker import PACKAGE, Asker
from nblaunch.rank.asking import end_tracebacks_at_questions
from nblaunch.rank.full_disks import name_full_disk
from nblaunch.rank.variables import local_variables

if TYPE_CHECKING:
    from nblaunch.rank.shell import RankShell

__all__ = ["render", "report_failure", "traceback_in_users_code"]

# Characters of a message, and of a traceback with those of all exceptions that it was raised from. Formatting millions
# of them takes seconds, and nobody reads them. The exception that the notebook gets has its whole text.
_MAX_MESSAGE_CHARACTERS = 20_000
_MAX_TRACEBACK_CHARACTERS = 400_000
# Exceptions that are formatted together: causes, contexts, and members of groups.
_MAX_FORMATTED_EXCEPTIONS = 20


def report_failure(
    context: Context,
    task: Task,
    error: BaseException,
    shell: RankShell | None,
    home_classes: frozenset[str],
    asker: Asker | None,
    cells: dict[str, int] | None,
    hints: list[str],
) -> int:
    """Report the exception that has ended a task, after it was debugged if it is to be, and return the exit code.

    Without a shell, the traceback is formatted as Python does. Without `cells`, it shows no local variables.
    """
    if os.getpid() != context.pid:
        # a process that the cell has forked runs this, not the rank
        traceback.print_exception(error)
        return 1
    error = BaseException.with_traceback(error, traceback_in_users_code(error))
    with contextlib.suppress(Exception):  # attributes of a user's exception may raise
        end_tracebacks_at_questions(error)
    if task.stdout:
        name_full_disk(error, os.path.dirname(os.path.dirname(task.stdout)))
    # formatting takes long, so it comes first: then the report follows the error file at once
    text = render(error, shell)
    # some formatters leave notes out, those of Python 3.10 above all
    text = "\n".join([text.rstrip(), *(hint for hint in hints if hint not in text)]) if hints else text
    if cells is not None:
        with contextlib.suppress(BaseException):  # the repr of a value may raise anything
            text = f"{text.rstrip()}\n\n{local_variables(error.__traceback__, cells)}".rstrip()
    raised_at = time.monotonic()
    if asker is not None and asker.hold:
        from nblaunch.rank.debugging import debug_failure, is_debuggable

        if is_debuggable(error):
            # the notebook reports this one if the rank is killed while the debugger is open
            context.channel.tell(HeldReport.of(error, text, home_classes=home_classes, raised_at=raised_at))
            debug_failure(error, text, asker)
    get_error_handler().record_exception(error)
    context.channel.tell(ErrorReport.of(error, text, home_classes=home_classes, raised_at=raised_at))
    # not isinstance: a user's exception may define a `__class__` that raises
    if issubclass(type(error), SystemExit):
        return exit_code(cast("SystemExit", error))
    return -signal.SIGINT if issubclass(type(error), KeyboardInterrupt) else 1


def traceback_in_users_code(error: BaseException) -> TracebackType | None:
    """Return the traceback without nblaunch's frames at its beginning; None if there are no others.

    There are no others where nblaunch itself raises, for example because a value cannot be sent.
    """
    tb = traceback_of(error)
    while tb is not None and tb.tb_frame.f_code.co_filename.startswith(PACKAGE):
        tb = tb.tb_next
    return tb


def render(error: BaseException, shell: RankShell | None) -> str:
    """Return the traceback of an exception as text, shortened if it is very long."""
    text = text_of(error)
    if len(text) > _MAX_MESSAGE_CHARACTERS or len(relatives(error)) > _MAX_FORMATTED_EXCEPTIONS:
        # IPython would format all of it, so it gets an exception that stands alone and has a short message
        kind = type(type_name(error), (Exception,), {"__module__": "builtins"})
        error = kind(shortened(text, _MAX_MESSAGE_CHARACTERS)).with_traceback(traceback_of(error))
    return shortened(_format(error, shell), _MAX_TRACEBACK_CHARACTERS)


def _format(error: BaseException, shell: RankShell | None) -> str:
    # IPython's formatter fails if the text or a part of the exception raises; the standard one copes with more
    with contextlib.suppress(BaseException):
        if shell is not None and traceback_of(error) is not None:
            return shell.render(error)
    with contextlib.suppress(BaseException):
        return "".join(traceback.format_exception(error))
    return "".join(traceback.format_tb(traceback_of(error))) + why(error)
