"""`RankShell`: the IPython shell in which a rank runs a cell, with magics, ``!``, ``?``, ``await`` and tracebacks."""

from __future__ import annotations

import builtins
import linecache
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from types import CodeType, FrameType, TracebackType
from typing import Any

import IPython
from IPython.core import page, ultratb
from IPython.core.compilerop import CachingCompiler
from IPython.core.displayhook import DisplayHook
from IPython.core.interactiveshell import ExecutionResult, InteractiveShell
from traitlets import Type
from traitlets.config import Config

from nblaunch.messages.work import Work
from nblaunch.payload import traceback_of
from nblaunch.processes.child.channel import Channel
from nblaunch.rank.cell_names import name_cells
from nblaunch.rank.displays import RankDisplayPublisher
from nblaunch.rank.hints import add_hints

__all__ = ["RankShell"]


class _Compiler(CachingCompiler):
    """Compiles the cell under the name that it has in the notebook."""

    cell_filename: str = ""

    def __init__(self) -> None:
        super().__init__()
        # Private in IPython: cell numbers by file name, for "Cell In[5]" in tracebacks. IPython 7 has no such table.
        self.__dict__.setdefault("_filename_map", {})

    def cache(self, transformed_code: str, number: int = 0, raw_code: str | None = None) -> str:
        name = str(super().cache(transformed_code, number, raw_code))
        self._filename_map[name] = number
        return name

    def get_code_name(self, raw_code: str, transformed_code: str, number: int) -> str:
        name, self.cell_filename = self.cell_filename, ""
        return name or str(super().get_code_name(raw_code, transformed_code, number))


class _ValueKeeper(DisplayHook):
    """Keeps the value of the last expression, unless a semicolon follows it. The notebook shows it, not the rank."""

    def __call__(self, result: object = None) -> None:
        if result is not None and not self.quiet():
            self.fill_exec_result(result)


class RankShell(InteractiveShell):
    """An IPython shell without history, start-up files, prompts and terminal."""

    compiler_class: type[_Compiler] = Type(_Compiler)
    displayhook_class: type[_ValueKeeper] = Type(_ValueKeeper)
    display_pub_class: type[RankDisplayPublisher] = Type(RankDisplayPublisher)
    # the cell that `run` has been given, until IPython transforms it
    _cell: str | None = None
    _work: Work | None = None
    # ``!command`` writes to descriptors 1 and 2, the rank's log files
    system: Callable[[InteractiveShell, str], None] = InteractiveShell.system_raw

    @classmethod
    def create(cls) -> RankShell:
        """Return the shell of this process; make one if there is none of this class."""
        if isinstance(InteractiveShell._instance, cls):
            return InteractiveShell._instance
        if InteractiveShell._instance is not None:
            InteractiveShell._instance.clear_instance()  # the notebook's shell, in a fork of its process
        config = Config()
        config.HistoryManager.enabled = False
        config.InteractiveShell.warn_venv = False
        shell: RankShell = cls.instance(config=config)
        # when code calls sys.exit, IPython warns how to leave a terminal
        warnings.filterwarnings("ignore", "To exit: use", UserWarning)
        shell.set_hook("show_in_pager", page.as_hook(page.display_page), 90)
        name_cells(shell.InteractiveTB, shell.compile._filename_map)
        _keep_widgets_here()
        _count_lines_of_cells()
        shell.join_figures()
        return shell

    def init_prompts(self) -> None:
        """Set no prompts in `sys`, which libraries take for a sign that somebody types here."""

    def display_over(self, channel: Channel | None) -> None:
        """Send displays over this channel from now on; None prints their text instead."""
        self.display_pub.connect(channel)

    def rehearse_display(self, channel: Channel | None) -> None:
        """Format and send an empty display, over this channel if there is one, in a process that is no rank yet."""
        self.display_formatter.format(object())
        self.display_pub.rehearse(channel)

    def join_figures(self) -> None:
        """Have inline figures of matplotlib displayed by this shell.

        matplotlib's inline backend registers with the shell that exists when it is imported. If it was imported before
        the fork, there was no shell yet, or it was the notebook's.
        """
        backend: Any = sys.modules.get("matplotlib_inline.backend_inline")
        join = getattr(backend, "_enable_matplotlib_integration", None)  # private: what the import itself calls
        if join is None or (backend.InlineBackend.initialized() and backend.InlineBackend.instance().shell is self):
            return
        # otherwise it would leave this shell without its formatters, as if they were registered already
        backend.configure_inline_support.current_backend = "unset"
        join()

    def prepare_for(self, work: Work) -> None:
        """Set the number, file name and compiler flags of the cell, the sources of other cells, and figure settings."""
        self._work = work
        self.execution_count: int = work.number
        self.compile.flags |= work.compiler_flags
        for name, source in work.sources.items():
            linecache.cache[name] = (sum(map(len, source.lines)), None, list(source.lines), name)
            self.compile._filename_map[name] = source.number
        self.compile.cell_filename = work.filename
        self.join_figures()
        if work.figures:
            from matplotlib_inline.config import InlineBackend  # imports nothing of matplotlib

            settings = InlineBackend.instance(parent=self)
            for name, value in work.figures.items():
                setattr(settings, name, value)

    @contextmanager
    def as_cell(self, filename: str, number: int, compiler_flags: int) -> Iterator[None]:
        """Let another cell of the notebook run in this context, before the one that `prepare_for` was called for."""
        before = self.compile.cell_filename, self.execution_count, self.compile.flags
        self.compile.cell_filename, self.execution_count = filename, number
        self.compile.flags |= compiler_flags
        try:
            yield
        finally:
            self.compile.cell_filename, self.execution_count, self.compile.flags = before

    def run(self, cell: str) -> Any:
        """Run a cell and return the value of its last expression.

        Raises
        ------
        BaseException
            Whatever the cell raises; the traceback begins in the cell.
        """
        self._cell = cell
        result: ExecutionResult = self.run_cell(cell, store_history=False)
        error = result.error_before_exec or result.error_in_exec
        if error is not None:
            raise BaseException.with_traceback(error, _below_shell(traceback_of(error)))
        return result.result

    def _tee(self, channel: str) -> AbstractContextManager[None]:
        # Private in IPython 9, which keeps all that a cell writes in memory for the history, so that each write takes
        # twice as long. A rank has no history.
        return nullcontext()

    def _update_code_co_name(self, code: CodeType) -> CodeType:
        # Private in IPython 7 and some of 8, which name the code of a cell "<cell line: 1>" for JupyterLab's debugger.
        # In stacks and tracebacks of ranks its name is "<module>", on all versions.
        return code

    def run_cell(self, *args: Any, **options: Any) -> ExecutionResult:
        """Run a cell, maybe within another cell, whose value it leaves as it is."""
        outer = self.displayhook.exec_result
        try:
            return super().run_cell(*args, **options)
        finally:
            self.displayhook.exec_result = outer

    def transform_cell(self, raw_cell: str) -> str:
        """Return the cell as Python, and store it where the display hook looks for a final semicolon."""
        transformed: str = super().transform_cell(raw_cell)
        if raw_cell is self._cell:  # not a nested cell that a magic transforms
            self._cell = None
            self.history_manager.input_hist_parsed[:] = ["", transformed]
        return transformed

    def forget(self, filename: str) -> None:
        """Remove all traces of a cell that was run only to warm up the process."""
        linecache.cache.pop(filename, None)
        self.compile._filename_map.pop(filename, None)
        self.last_execution_result: None = None
        # the formatter would keep the last exception with all its frames
        tracer = self.InteractiveTB
        tracer.etype = tracer.value = tracer.evalue = tracer.tb = None
        self.history_manager.input_hist_parsed[:] = [""]

    def render(self, error: BaseException) -> str:
        """Return the traceback of an exception as a notebook shows it, with ANSI colours."""
        kind, tb = type(error), traceback_of(error)
        if _has_group(error):
            # IPython's formatter does not know exception groups, so IPython uses Python's too
            return "".join(traceback.format_exception(kind, error, tb))
        if isinstance(error, SyntaxError):
            lines = self.SyntaxTB.structured_traceback(kind, error, traceback.extract_tb(tb))
        else:
            lines = self.InteractiveTB.structured_traceback(kind, error, tb, tb_offset=0)
        return _with_notes("\n".join(lines), error)

    def enable_gui(self, gui: str | None = None) -> None:
        """Do nothing: ``%matplotlib`` asks for the event loop of a window system, which a rank does not have."""

    def ask_exit(self) -> None:
        """End the cell; ``exit`` and ``quit`` call this."""
        raise SystemExit(0)

    def showtraceback(self, *args: Any, running_compiled_code: bool = False, **options: Any) -> None:
        """Print an exception that a magic catches; one that ends the cell is reported by the rank instead."""
        if not running_compiled_code and not options.get("exception_only"):
            error = sys.exc_info()[1]
            if error is not None and self._work is not None:
                with suppress(Exception):  # the text of a user's exception may raise
                    add_hints(error, self._work, self.user_ns)
            super().showtraceback(*args, **options)

    def showsyntaxerror(self, *args: Any, **options: Any) -> None:
        """Print nothing: the rank reports the error."""

    def _showtraceback(self, etype: type, evalue: BaseException, stb: list[str]) -> None:
        print(_with_notes(self.InteractiveTB.stb2text(stb), evalue), file=sys.stderr)


def _keep_widgets_here() -> None:
    """Have widgets made without a frontend, because a fork of the kernel would write to its parent's sockets."""
    comm: Any = sys.modules.get("comm")
    if comm is not None:
        comm.create_comm = comm._create_comm
        comm.get_comm_manager = comm._get_comm_manager
    # ipykernel before 6.18 does not use `comm`: there a widget looks for the kernel itself
    kernels: Any = sys.modules.get("ipykernel.kernelbase") if comm is None else None
    if kernels is not None:
        kernels.Kernel._instance = None


def _count_lines_of_cells() -> None:
    """Have IPython's tracebacks count the lines of a cell in `linecache`, because there is no file of it.

    IPython 9.18 looks for a file. As it finds none, it shows the line where the frame is now instead of the line that
    raised: after ``except KeyError as error: raise ValueError from error``, the second line for both exceptions.
    """
    count = getattr(ultratb, "get_line_number_of_frame", None)  # private
    if count is None:
        return

    def count_lines(frame: FrameType) -> int:
        entry = linecache.cache.get(frame.f_code.co_filename)
        # an entry without a modification time does not come from a file
        return len(entry[2]) if entry is not None and len(entry) == 4 and entry[1] is None else count(frame)

    ultratb.get_line_number_of_frame = count_lines


def _with_notes(text: str, error: BaseException) -> str:
    """Return a traceback with the notes of its exception, which IPython 7 leaves out."""
    notes: list[str] = []
    if IPython.version_info[0] < 8:
        with suppress(Exception):  # an attribute of a user's exception may raise
            notes = [note for note in getattr(error, "__notes__", ()) if isinstance(note, str)]
    return "\n".join([text, *notes])


def _below_shell(tb: TracebackType | None) -> TracebackType | None:
    """Return the part of a traceback that begins in the cell, or all of it if the shell itself raised."""
    step = tb
    while step is not None:
        inside = step.tb_frame.f_code
        step = step.tb_next
        if inside.co_name == "run_code" and inside.co_filename.endswith("interactiveshell.py"):
            return step or tb
    return tb


# Python 3.10 has none
_GROUP: tuple[type[BaseException], ...] = (builtins.BaseExceptionGroup,) if sys.version_info >= (3, 11) else ()


def _has_group(error: BaseException | None) -> bool:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, _GROUP):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False
