"""The magics ``%%multiproc`` and ``%multiproc``.

``%%multiproc`` turns its line into options of a run, runs the cell, and binds variables of the notebook: ``results``
and ``failures``, or the `Run` itself with ``--out``.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class
from IPython.core.magic_arguments import magic_arguments

from nblaunch.exports import exported_by
from nblaunch.magic import arguments
from nblaunch.magic import line as grammar
from nblaunch.payload.exceptions import shortened
from nblaunch.payload.made_frames import leave_users_frames

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from nblaunch.engines.base import Engine
    from nblaunch.launching.session import Session
    from nblaunch.panel.standing import Standing
    from nblaunch.runs.run import Run

__all__ = ["Multiproc", "load_ipython_extension", "unload_ipython_extension"]


class _ShownAs(BaseException):
    """An exception of which IPython shows these lines, without frames, because all of them are of this package."""

    def __init__(self, message: str, lines: list[str]) -> None:
        super().__init__(message)
        self._lines = lines

    def _render_traceback_(self) -> list[str]:
        leave_users_frames(self, f"There is no line of a rank to look at: {self}")
        return self._lines


class CellSyntaxError(_ShownAs, Exception):
    """A syntax error in the cell. No `SyntaxError`, before which IPython would show the frames of this package."""


class RunInterrupted(_ShownAs, KeyboardInterrupt):
    """The run was interrupted, and its ranks have ended."""


class NotStarted(_ShownAs, OSError):
    """The system refused to start the ranks."""


def _named(kind: type[_ShownAs], name: str, message: str, lines: list[str] | None = None) -> Any:
    # the name of the type is in the notebook's error message, which papermill reports
    return type(name, (kind,), {})(message, lines or [f"{name}: {message}"])


@magics_class
class Multiproc(Magics):
    """Runs cells on several processes; ``%config Multiproc.NAME = value`` sets its defaults."""

    # types of the traits that the code below reads
    start_method: str
    settings: bool
    keep_killed: float
    preload: list[str]
    spares: int
    spare_seconds: float
    vars().update(arguments.settings())

    def __init__(self, shell: InteractiveShell) -> None:
        # the shell is its parent, so that ipython_config.py can set the traits
        super().__init__(shell=shell, parent=shell)
        # holding the last run keeps its logs, whose paths its error message names
        self.last_run: Run | None = None
        # the latest session that binds results and failures
        self._last_session: weakref.ref[Session] | None = None
        self._standing: Standing | None = None
        self._hidden_names_told: set[str] = set()
        self._modules_seen = 0

    @magic_arguments(name="%multiproc")
    @arguments.arguments
    @cell_magic
    def multiproc(self, line: str, cell: str) -> Any:
        """Run this cell on several new processes, the ranks.

        The cell finds `rank`, `local_rank` and `world_size`, and the variables, functions and classes of the notebook
        that it uses. Its last expression is the rank's value. Afterwards `results` ({rank: value}) and `failures`
        ({rank: RankFailure}) are bound; a failed run raises.
        """
        __tracebackhide__ = True
        try:
            # not IPython's parse_argstring, which leaves the quotes around a quoted value
            said = arguments.parse(self.multiproc.parser, shlex.split(line))
        except UsageError as error:
            raise grammar.clearer(error, self.multiproc.parser, self.shell.user_ns) from None
        except ValueError as error:
            what = "ends with a backslash" if "escaped" in str(error) else "has a quotation mark without its partner"
            raise grammar.refusal(f"the line {what}") from None
        if not cell.strip():
            raise grammar.refusal("the cell is empty, so there is nothing to run on the ranks")
        if said.get("setup"):
            return self._set_up(line, cell)
        chosen = {**arguments.configured(self), **said}
        out: str | None = chosen.get("out")
        try:
            session = self._session(chosen, line, grammar.with_line_as_comment(line, cell))
        except KeyboardInterrupt:
            self._clear_bound(out)
            raise _interrupted("interrupted before any rank was started") from None
        self._tell_hidden_names()
        try:
            if not chosen.get("wait", True):
                session.start_and_leave()
                if self._standing is not None:
                    self._standing.goes_on = True
                return None
            session.start_and_wait()
        except KeyboardInterrupt:
            raise _interrupted(session.run.summary()) from None
        except OSError as error:
            text = f"the ranks could not be started: {error}. None is left running."
            raise _named(NotStarted, type(error).__name__, text) from error
        finally:
            self._bind(session, out)
        if session.run.status == "interrupted":  # by the button of the panel, which raises nothing here
            raise _interrupted(session.run.summary()) from None
        if not chosen["no_raise"]:
            session.run.raise_for_failures()
        elif session.run.failures and said.get("panel") != "none" and not session.leaves_record:
            print(f"{session.run.summary()} (see {out or 'failures'})", file=sys.stderr)
        return None

    def _set_up(self, line: str, cell: str) -> Any:
        from nblaunch.launching.setting_up import set_up

        if shlex.split(line) != ["--setup"]:
            raise grammar.refusal(
                "--setup goes alone: the cell runs here once, and first in every rank from now on, however many ranks "
                "a later cell has"
            )
        __tracebackhide__ = True
        try:
            value, notice = set_up(self.shell, grammar.with_line_as_comment(line, cell))
        except SyntaxError as error:
            raise self._cell_syntax_error(error) from None
        if notice:
            print(notice)
        return value

    @line_magic("multiproc")
    def command(self, line: str) -> None:
        """Ask about, or prepare, what ``%%multiproc`` runs.

        ``%multiproc doctor`` says how ranks are made here and what stands in the way.
        ``%multiproc preload NAME ...`` has modules imported once, ahead of the ranks.
        ``%multiproc stacks [RANKS] [native]`` shows where ranks are, now or when the first one failed.
        ``%multiproc setup`` shows the set-up cell, and ``%multiproc setup clear`` has ranks begin without it.
        ``%multiproc stop`` and ``%multiproc kill`` end the runs that go on, those of ``--no-wait`` above all.
        ``%multiproc logs [NUMBER]`` lists the logs that are kept of killed runs, or shows the ends of one's.
        ``%multiproc clear logs`` removes the logs of the runs that have ended.
        ``%multiproc debug RANK`` operates the debugger of a rank that waits, or answers its `input()`.
        """
        name, *rest = re.sub(r"(^|\s)#.*", "", line).split() or [""]
        if name == "doctor" and not rest:
            from nblaunch.jupyter.comms import peculiarities
            from nblaunch.magic.doctor import examine

            print(examine(self.start_method, self.settings, peculiarities()))
        elif name == "preload" and rest:
            self._preload(" ".join(rest).replace(",", " ").split())
        elif name == "stacks":
            self._show_stacks(rest)
        elif name == "setup" and rest in ([], ["clear"]):
            from nblaunch.launching.setting_up import clear_setup, show_setup

            print(clear_setup() if rest else show_setup())
        elif name in ("stop", "kill") and not rest:
            from nblaunch.magic.commands import end_runs

            print(end_runs(kill=name == "kill"))
        elif name == "logs" and (not rest or (len(rest) == 1 and rest[0].isdecimal())):
            from nblaunch.magic.commands import logs_in_words

            try:
                print(logs_in_words(int(rest[0]) if rest else None))
            except ValueError as error:
                raise UsageError(f"%multiproc logs: {error}.") from None
        elif name == "clear" and rest == ["logs"]:
            from nblaunch.magic.commands import clear_logs

            print(clear_logs())
        elif name == "debug" and len(rest) == 1 and rest[0].isdecimal():
            _debug(int(rest[0]))
        else:
            raise UsageError(grammar.printable(grammar.unknown_command(shortened(name, 200))))

    def _show_stacks(self, words: list[str]) -> None:
        from nblaunch.magic.commands import stacks_in_words

        native = words[-1:] == ["native"]
        chosen = " ".join(words[: len(words) - native])
        try:
            print(stacks_in_words(grammar.ranks(chosen) if chosen else None, native))
        except (argparse.ArgumentTypeError, ValueError, OSError) as error:
            raise UsageError(f"%multiproc stacks: {error}.") from None

    def _preload(self, names: list[str]) -> None:
        from nblaunch.processes.starting.preloads import refusal

        for name in names:
            why = refusal(name)
            if why:
                why = grammar.printable(shortened(why, grammar.MAX_REFUSAL_CHARACTERS))
                raise UsageError(f"%multiproc preload: {why}{'' if why.endswith('?') else '.'}")
        self.preload = [*self.preload, *(name for name in names if name not in self.preload)]
        self._make_zygote()
        print(
            f"{', '.join(self.preload)}: imported ahead as soon as the zygote is ready (%multiproc doctor shows it). "
            "To take a name back: %config Multiproc.preload = [...]"
        )

    def after_cell(self, result: Any) -> None:
        """Update `nblaunch.panel.standing`, which shows what runs have left under a cell; called after each cell."""
        if "nblaunch.panel.standing" not in sys.modules:
            return
        from nblaunch.jupyter.comms import cell_that_a_page_runs
        from nblaunch.panel.standing import forget

        standing = self._standing
        cell, request = cell_that_a_page_runs()
        if standing is None:
            forget(cell)
        elif standing.request == request:
            self._standing = None
            failed = (result.error_before_exec or result.error_in_exec) is not None
            standing.end((self.shell._last_traceback or ()) if failed else ())

    def follow_imports(self, *_: object) -> None:
        """Make a new zygote if the notebook has imported more modules; called after each cell."""
        if self.start_method == "zygote" and len(sys.modules) != self._modules_seen:
            seen = len(sys.modules)
            # if no thread can be started, the next cell tries again, and the cell that has ended does not fail
            with contextlib.suppress(RuntimeError):
                # In a thread, because the reply to the cell waits for this function. The modules are listed before,
                # because the next cell may be importing when the thread runs.
                now = frozenset(sys.modules), dict(os.environ)
                threading.Thread(target=self._make_zygote, args=now, name="nblaunch-zygote", daemon=True).start()
                self._modules_seen = seen

    def _make_zygote(self, modules: frozenset[str] | None = None, env: dict[str, str] | None = None) -> None:
        from nblaunch.launching.prepare import PREPARE, REHEARSE

        # if this fails, the next launch uses another start method and says so
        with contextlib.suppress(OSError, RuntimeError):
            self._engine().get_ready(PREPARE, REHEARSE, modules, env)

    def _engine(self) -> Engine:
        from nblaunch.engines.local import LocalEngine

        return LocalEngine(tuple(self.preload), self.spares, self.spare_seconds)

    def _session(self, chosen: dict[str, Any], line: str, source: str) -> Session:
        from nblaunch.launching.options import Options
        from nblaunch.launching.prepare import prepare
        from nblaunch.launching.session import Session
        from nblaunch.launching.source import Notebook
        from nblaunch.logs.kept import LIMITS
        from nblaunch.panel.standing import standing_here

        LIMITS.seconds = self.keep_killed * 3600
        nprocs = chosen["nprocs"] or len(os.sched_getaffinity(0))
        try:
            options = Options.of(chosen)
            # now, because packing objects may take long
            standing = standing_here() if options.panel == "live" and not options.quiet else None
            # another run of the same cell may have one already
            self._standing = standing or self._standing
            title = grammar.printable(f"%%multiproc {line}".strip())
            return Session(
                prepare(source, nprocs, options, Notebook.of(self.shell), title),
                self._engine(),
                bound=chosen.get("out") or "results, failures",
                raises=not chosen["no_raise"] and chosen.get("wait", True),
                publish=standing,
            )
        except SyntaxError as error:
            raise self._cell_syntax_error(error) from None
        except (ValueError, TypeError, NameError, OSError) as error:
            raise grammar.refusal(grammar.with_option_name(str(error))) from error

    def _bind(self, session: Session, out: str | None) -> None:
        self.last_run = run = session.run
        if out:
            self.shell.user_ns[out] = run
        else:
            before = None if self._last_session is None else self._last_session()
            if before is not None and before.run.status == "running":
                before.binds_no_longer()
                print(
                    "results and failures are those of this run from now on. Of the one that still goes on in the "
                    "background nobody will know them: start such runs with --out NAME.",
                    file=sys.stderr,
                )
            self._last_session = weakref.ref(session)
            self.shell.user_ns["results"] = run.results
            self.shell.user_ns["failures"] = run.failures

    def _clear_bound(self, out: str | None) -> None:
        """Empty or remove the variables of an earlier run, which would look like results of this one."""
        if out:
            self.shell.user_ns.pop(out, None)
        else:
            self.shell.user_ns.update(results={}, failures={})

    def _tell_hidden_names(self) -> None:
        from nblaunch.wording import RANK_NAMES

        hidden = [name for name in RANK_NAMES if name in self.shell.user_ns and name not in self._hidden_names_told]
        if hidden:
            self._hidden_names_told.update(hidden)
            names = " and ".join(repr(name) for name in hidden)
            one = len(hidden) == 1
            print(
                f"In the ranks, {names} {'is' if one else 'are'} the rank's own and {'hides' if one else 'hide'} the "
                f"notebook variable{'' if one else 's'} of that name."
            )

    def _cell_syntax_error(self, error: SyntaxError) -> Any:
        lines = self.shell.SyntaxTB.structured_traceback(type(error), error, [])
        return _named(CellSyntaxError, type(error).__name__, str(error), lines)


def _debug(rank: int) -> None:
    from nblaunch.magic.commands import debug

    try:
        debug(rank)
    except (ValueError, RuntimeError) as error:
        raise UsageError(f"%multiproc debug: {error}.") from None


def _interrupted(text: str) -> Any:
    return _named(RunInterrupted, "KeyboardInterrupt", text)


@exported_by("nblaunch")
def load_ipython_extension(shell: InteractiveShell) -> None:
    """Add ``%%multiproc`` to a notebook: ``%load_ext nblaunch`` calls this."""
    magics = Multiproc(shell)
    shell.register_magics(magics)
    # they are called for the first time after the cell that has loaded the extension
    shell.events.register("post_run_cell", magics.follow_imports)
    shell.events.register("post_run_cell", magics.after_cell)


@exported_by("nblaunch")
def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take ``%%multiproc`` away again."""
    for kind in ("cell", "line"):
        shell.magics_manager.magics[kind].pop("multiproc", None)
    for known in shell.configurables:
        if isinstance(known, Multiproc):
            shell.events.unregister("post_run_cell", known.follow_imports)
            shell.events.unregister("post_run_cell", known.after_cell)
    zygotes = sys.modules.get("nblaunch.processes.starting.zygotes")
    if zygotes is not None:
        zygotes.ZYGOTES.close()
    shell.configurables[:] = [known for known in shell.configurables if not isinstance(known, Multiproc)]
