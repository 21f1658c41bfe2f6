"""The notebook of chaotic runs: a real kernel, and a socket at which its ranks tell where they are."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import zmq

from tests.chaos.inside import SOCKET
from tests.kernel import Kernel
from tests.notebook.conftest import _HELPERS

__all__ = ["Notebook"]

ROOT = str(Path(__file__).parents[2])
_SETUP = f"""
import faulthandler, os, sys
sys.path.insert(0, {ROOT!r})
os.environ[{SOCKET!r}] = {{told!r}}
faulthandler.register({signal.SIGUSR1:d}, file=open({{stacks!r}}, 'w'), all_threads=True)
import nblaunch
from tests.chaos import aside, inside, report
class NotebookError(Exception):
    def __init__(self, first, second):
        super().__init__(f'{{{{first}}}} and {{{{second}}}}')
        self.second = second
"""


class Notebook:
    """A kernel that is ready for chaotic runs."""

    def __init__(self) -> None:
        self.kernel = Kernel()
        self._told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._told.bind(str(self.kernel.place / "told"))
        self._told.setblocking(False)
        self._stacks = self.kernel.place / "stacks"
        self._poller = zmq.Poller()
        for one in (self.kernel._shell, self.kernel._iopub, self.kernel._stdin, self._told):
            self._poller.register(one, zmq.POLLIN)
        try:
            self._get_ready()
        except BaseException:
            self.close()
            raise

    def _get_ready(self) -> None:
        self.kernel.quietly(_HELPERS)
        self.kernel.run("%load_ext nblaunch").ok()
        told, stacks = str(self.kernel.place / "told"), str(self._stacks)
        self.kernel.quietly(_SETUP.format(told=told, stacks=stacks))
        # what kernels make once and keep: pyzmq's collector of large messages, pools of threads, a first zygote
        self.kernel.run("print('x' * 200_000)").ok()
        self.kernel.run("%%multiproc 2\nrank").ok()
        self.names = self.kernel.value("__holdings()")["names"]
        self.steady = self.tidy_up()

    @property
    def pid(self) -> int:
        """The kernel's process."""
        return self.kernel.process.pid

    def listen(self, seconds: float) -> list[dict[str, Any]]:
        """Take messages of the kernel for at most so long, and return what ranks have told."""
        ready = dict(self._poller.poll(max(0, int(seconds * 1000))))
        self.kernel._receive(0)
        announced = []
        if self._told.fileno() in ready:
            with contextlib.suppress(BlockingIOError):
                while True:
                    announced.append(json.loads(self._told.recv(4096)))
        return announced

    def tidy_up(self) -> dict[int, str]:
        """Forget the variables of a run; return the descriptors that the kernel holds then."""
        self.kernel.quietly(f"__forget({self.names}, {str(self.kernel.place / 'work')!r})")
        held: dict[int, str] = self.kernel.value("__holdings()")["descriptors"]
        return held

    def stacks(self) -> str:
        """Return where the kernel's threads are just now."""
        size = self._stacks.stat().st_size
        os.kill(self.pid, signal.SIGUSR1)
        deadline = time.monotonic() + 5.0
        while time.monotonic() < deadline and self._stacks.stat().st_size == size:
            time.sleep(0.05)
        return self._stacks.read_text()[size:]

    def close(self) -> None:
        """Kill the kernel."""
        self._told.close()
        self.kernel.close()
