"""A kernel for each module of tests, with the extension loaded, and a check that no test leaves anything in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.kernel import Kernel

_HELPERS = """
def __holdings():
    import gc, os, threading
    from nblaunch.processes.starting.zygotes import ZYGOTES
    gc.collect()
    for thread in threading.enumerate():
        if thread.name in ('nblaunch-zygote', 'nblaunch-logs'):
            thread.join()
    # zygotes and spares stay on purpose
    of_zygotes = set()
    for zygote in ZYGOTES._processes:
        of_zygotes |= {zygote.control.fileno(), zygote.guard_writer, zygote.complaints.fileno()}
        if zygote.ahead is not None:
            zygote.ahead.state()
            of_zygotes |= {zygote.ahead.connection.server.fileno(), zygote.ahead.connection._guard_writer}
            of_zygotes.update(mailbox.fileno() for _, mailbox in zygote.ahead.connection.spares)
    fds = {}
    for fd in os.listdir('/proc/self/fd'):
        if int(fd) in of_zygotes:
            continue
        try:
            fds[int(fd)] = os.readlink(f'/proc/self/fd/{fd}')
            if any(part in fds[int(fd)] for part in ('eventfd', 'history.sqlite', 'profile_default')):
                # ipykernel has the first for each thread that has printed, and tidies up now and then; IPython
                # closes and opens its history when the process forks
                del fds[int(fd)]
        except OSError:
            pass
    return {
        'descriptors': fds,
        # the pools of asyncio, IPython's history and pyzmq's collector of large messages stay or go as they like
        'threads': sorted(
            t.name
            for t in threading.enumerate()
            if not t.name.startswith(('asyncio_', 'IPythonHistory')) and type(t).__name__ != 'GarbageCollectorThread'
        ),
        'names': sorted(globals()),
        'cwd': os.getcwd(),
    }

def __forget(names, directory):
    import os, sys
    for name in set(globals()) - set(names):
        del globals()[name]
    os.chdir(directory)
    Out.clear()
    shell = get_ipython()
    shell.displayhook._ = shell.displayhook.__ = shell.displayhook.___ = ''
    shell.push({'_': '', '__': '', '___': ''}, interactive=False)
    shell.last_execution_result = None
    for name in set(shell.user_ns_hidden) - set(names):
        del shell.user_ns_hidden[name]
    magics = shell.magics_manager.registry['Multiproc']
    magics.last_run = None
    magics._hidden_names_told.clear()
    sys.last_type = sys.last_value = sys.last_traceback = sys.last_exc = None
    tracer = shell.InteractiveTB
    tracer.etype = tracer.value = tracer.evalue = tracer.tb = None
    tracer.pdb = None  # it keeps the last frame that somebody has looked at with %debug
"""


@pytest.fixture(scope="module")
def notebook() -> Iterator[Kernel]:
    """A kernel with nblaunch loaded, the same for all tests of a module."""
    with Kernel() as kernel:
        kernel.quietly(_HELPERS)
        kernel.run("%load_ext nblaunch").ok()
        kernel.run("print('x' * 200_000)").ok()  # pyzmq makes its collector of large messages
        yield kernel


@pytest.fixture
def kernel(notebook: Kernel) -> Iterator[Kernel]:
    """The kernel, in which no earlier test has left a variable."""
    before = notebook.value("__holdings()")
    yield notebook
    notebook.quietly(f"__forget({before['names']}, {before['cwd']!r})")
    after: dict[str, Any] = notebook.value("__holdings()")
    assert after["threads"] == before["threads"]
    new = {fd: name for fd, name in after["descriptors"].items() if before["descriptors"].get(fd) != name}
    assert not new, f"descriptors left in the kernel: {new}"
    assert not list((notebook.place / "tmp").glob("nblaunch_*")), "logs of runs that nobody refers to any more"
