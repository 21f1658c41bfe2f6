"""`prepare`: check a cell or function and its options, find what it needs, and pack that. Nothing is started or made.

::

    cell or function, Options ─► capture ─► payload ─► Prepared
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from nblaunch.engines.base import Plan, Surroundings
from nblaunch.jupyter.input_box import Box, NoInput
from nblaunch.launching import free_threading
from nblaunch.launching.imported_modules import modules_found_elsewhere
from nblaunch.launching.options import Options
from nblaunch.launching.packing import pack_or_explain, select_objects, settings_that_travel
from nblaunch.launching.setup_cell import current as current_setup
from nblaunch.launching.source import Notebook
from nblaunch.messages.work import Work
from nblaunch.panel.marimo_outputs import variables_of_figures
from nblaunch.payload import Packed, pack
from nblaunch.processes.threads import VARIABLES, fair_share
from nblaunch.wording import name_ranks

__all__ = ["PREPARE", "REHEARSE", "Prepared", "prepare"]

# What is done in a process that ranks are forked from, and in a rank that waits for its launch.
PREPARE = "nblaunch.rank.main:prepare_thoroughly"
_PREPARE_FOR_ONE_RUN = "nblaunch.rank.main:prepare"
REHEARSE = "nblaunch.rank.main:rehearse"


@dataclass(frozen=True)
class Prepared:
    """A launch that has been checked and packed, and can be started, more than once too.

    Arrays are not copied: a rank gets what is in them when it is started.

    Parameters
    ----------
    title : str
        What runs, for those who watch it.
    options : Options
        How it is to run.
    work : Work
        What each rank is to do.
    payload : tuple of Packed
        What each rank gets: that work, what the set-up cell uses, and what the cell or function uses.
    sent : dict of str to object
        The objects that the cell or function uses, by name. They must live until instances of their classes have come
        back.
    env : dict of str to str
        Variables of the ranks, on top of the present environment.
    box : Box or NoInput
        Where whoever runs the cell or program can be asked.
    notices : tuple of str
        Sentences about what will not be in the ranks as it is here.
    """

    title: str
    options: Options
    work: Work
    payload: tuple[Packed, ...]
    sent: Mapping[str, Any]
    env: Mapping[str, str]
    box: Box | NoInput
    notices: tuple[str, ...]

    @property
    def captured(self) -> dict[str, int]:
        """Bytes that each object takes, largest first."""
        return dict(sorted(self.payload[-1].sizes.items(), key=lambda item: -item[1]))

    @property
    def cells(self) -> dict[str, int]:
        """Numbers of the notebook's cells by file name, for stacks."""
        work = self.work
        return {name: source.number for name, source in work.sources.items()} | {work.filename: work.number}

    def plan(self, run_id: str, log_dir: str) -> Plan:
        """Return what an engine is told of one run.

        Parameters
        ----------
        run_id : str
            Name of the run.
        log_dir : str
            Folder that will hold the folder of its logs.

        Raises
        ------
        FileNotFoundError
            If the working directory was removed.
        """
        options = self.options
        return Plan(
            run_id=run_id,
            nprocs=self.work.nprocs,
            entry="nblaunch.rank.main:run",
            prepare=_preparation(self.work, options),
            rehearse=REHEARSE,
            surroundings=Surroundings.here(options.start_method),
            payload=self.payload,
            env=self.env,
            start_method=options.start_method,
            log_dir=log_dir,
            stop_on_failure=options.on_failure == "stop",
            grace=options.grace,
            timeout=options.timeout,
            stall=options.stall,
            straggler=options.straggler,
            max_restarts=options.max_restarts,
            max_log=options.max_log,
        )


def prepare(
    fn_or_source: Callable[..., Any] | str, nprocs: int, options: Options, notebook: Notebook, title: str = ""
) -> Prepared:
    """Check, capture and pack.

    Nothing is left of it but the lines of the cell, which tracebacks find by the name of its file. Code of the user's
    runs only where objects say themselves how they are pickled.

    Parameters
    ----------
    fn_or_source, nprocs
        See `nblaunch.launch`.
    options : Options
        How it is to run.
    notebook : Notebook
        Where variables come from.
    title : str
        The line that is run, if it is one; it names what can be chosen in the words of the line.

    Raises
    ------
    ValueError, TypeError, NameError
        If an argument makes no sense.
    SyntaxError
        If the source is not Python.
    nblaunch.capture.CaptureError
        If something that is needed cannot be sent.
    """
    _validate(fn_or_source, nprocs, options)
    box = notebook.box
    if options.pdb and isinstance(box, NoInput):
        raise ValueError(
            f"pdb (--pdb) needs somebody who operates the debugger, but {box.why}: leave it out, or run this in "
            "JupyterLab or in a terminal"
        )
    env, threads = _thread_variables(nprocs, options)
    # a fork of this process has done already what the set-up cell does
    setup = current_setup() if options.start_method != "fork" else None
    if setup is not None:
        notebook = replace(notebook, provided={**notebook.provided, **setup.provided(notebook.namespace)})
    travelling, lines, work = select_objects(fn_or_source, options, notebook)
    objects = pack_or_explain(travelling, lines, notebook)
    settings, left_here = settings_that_travel(options, notebook)
    filenames = objects.filenames
    if setup is not None:
        filenames = {*filenames, *setup.objects.filenames, setup.cell.filename}
    work = replace(
        work,
        nprocs=nprocs,
        number=notebook.number,
        sources=notebook.sources(filenames),
        setup=None if setup is None else replace(setup.cell, own=setup.own_names(notebook.namespace)),
        elsewhere=replace(work.elsewhere, remedy="line") if title else work.elsewhere,
        places=modules_found_elsewhere(),
        # a fork of this process needs them too: some belong to a thread, and another one forks
        settings=settings,
        lines={name: line for name, line in lines.items() if name in travelling},
        collect=options.collect,
        seed=options.seed,
        threads=threads,
        show_locals=options.show_locals,
        figures=notebook.figures,
        no_input_reason=box.why if isinstance(box, NoInput) else "",
        hold=options.hold if options.pdb else 0.0,
    )
    return Prepared(
        title=title or _title(fn_or_source, nprocs),
        options=options,
        work=work,
        payload=(pack(work), objects) if setup is None else (pack(work), setup.objects, objects),
        sent=travelling,
        env={**variables_of_figures(), **env},
        box=box,
        notices=(*free_threading.notices(), *objects.notices, *left_here),
    )


def _preparation(work: Work, options: Options) -> str:
    # where IPython is, cells will be run
    if work.cell is None and "IPython" not in sys.modules:
        return "nblaunch.rank.main"
    return PREPARE if options.start_method == "zygote" else _PREPARE_FOR_ONE_RUN


def _title(fn_or_source: Callable[..., Any] | str, nprocs: int) -> str:
    what = "a cell" if isinstance(fn_or_source, str) else getattr(fn_or_source, "__name__", "a function")
    return f"launch({what}, {nprocs})"


def _validate(fn_or_source: object, nprocs: object, options: Options) -> None:
    if not isinstance(nprocs, int) or isinstance(nprocs, bool) or nprocs < 1:
        raise ValueError(f"nprocs is the number of ranks, a whole number of at least 1, not {nprocs!r}")
    beyond = sorted(rank for rank in options.show_ranks or () if rank >= nprocs)
    if beyond:
        own = "the only rank of this run is rank 0" if nprocs == 1 else f"this run has {name_ranks(range(nprocs))}"
        raise ValueError(f"show_ranks names {name_ranks(beyond)}, but {own}")
    if isinstance(fn_or_source, str):
        if not fn_or_source.strip():
            raise ValueError("the cell is empty: there is nothing to run on the ranks")
        if options.args:
            raise ValueError("args are for a function; a cell takes its variables from the notebook")
    elif not callable(fn_or_source):
        raise TypeError(f"launch takes a function or the source of a cell as str, not a {type(fn_or_source).__name__}")
    elif options.capture or options.no_capture:
        raise ValueError("capture and no_capture are for cells; a function takes along what it uses, and its args")


def _thread_variables(nprocs: int, options: Options) -> tuple[dict[str, str], int | None]:
    """Return the ranks' additional environment, and the number of threads that loaded libraries are to be told.

    A fork of this very process has libraries that were loaded with other variables; and more threads than there are
    cores is something that a library does only when told, whatever its variable says.
    """
    if options.threads is not None:
        variables = dict.fromkeys(VARIABLES, str(options.threads)) | dict(options.env)
        return variables, options.threads
    chosen = {name for name in VARIABLES if name in os.environ or name in options.env}
    share = fair_share(nprocs)
    # a variable of their own would have OpenBLAS, MKL and NumExpr look past the one of OpenMP that the user has set
    free = () if "OMP_NUM_THREADS" in chosen else VARIABLES
    defaults = {name: str(share) for name in free if name not in chosen}
    # who has set one of them knows better than we do
    inherits_libraries = options.start_method == "fork"
    return defaults | dict(options.env), share if inherits_libraries and not chosen else None
