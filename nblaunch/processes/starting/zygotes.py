"""The zygotes of this process: made in the background, asked for forkservers, replaced when they fail or are outgrown.

::

    load_ext, imports ─► get_ready ─► a zygote, which imports            (nobody waits)
    launch ─► Zygote.start ─► connect ─► forkserver with spares ─► ranks
    end of the run ─► the next forkserver is ordered, with as many spares as the run had ranks

A zygote serves all launches that want the same preparation and the same variables of those that libraries read when
they are loaded; everything else a rank gets when it is launched.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from nblaunch.payload.memory import available_memory
from nblaunch.processes.child.rank_spec import Descriptors, RankSpec
from nblaunch.processes.starting.base import Preparation, StartMethod, Watch
from nblaunch.processes.starting.direct import Spawn
from nblaunch.processes.starting.forkserver_client import Forkserver
from nblaunch.processes.starting.forkserver_connection import MOST_SPARES, Connection
from nblaunch.processes.starting.load_time import differ_at_load, kind_of
from nblaunch.processes.starting.zygote_client import Ahead, ZygoteClient

__all__ = ["ZYGOTES", "Zygote", "Zygotes"]

logger: logging.Logger = logging.getLogger(__name__)

# Zygotes that are kept: each holds the libraries that it has imported.
_MOST_ZYGOTES = 3
# Seconds that a zygote which is ready has to fork a forkserver, and this to say hello.
_HELLO_PATIENCE = 10.0
# Seconds after a run before the next spares are forked: the kernel is busy with the cell's reply, and the person may
# run the next cell at once.
_DELAY = 0.1
# Share of the available memory that spares may take, and the private memory of one, with torch imported.
_SHARE_OF_MEMORY = 0.05
_BYTES_PER_SPARE = 12 << 20
# Seconds that a forkserver waits longer than its client counts on, so that one that is taken at the last moment still
# runs.
_MARGIN = 60.0
# Exit codes of a process that was ended from outside.
_KILLED = (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT)


class Zygotes:
    """All zygotes of this process; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        # the one used last comes last
        self._processes: list[ZygoteClient] = []
        self.failures: deque[str] = deque(maxlen=3)
        # modules whose import has ended a zygote, or did not end, each with the reason
        self._harmful: dict[str, str] = {}
        # modules that were being imported when a zygote was killed from outside: a second time counts as harmful
        self._suspects: set[str] = set()
        # sets of modules for which no zygote is forked from another one any more
        self._to_be_fresh: set[tuple[str, ...]] = set()

    def get_ready(self, preparation: Preparation, env: Mapping[str, str], path: tuple[str, ...]) -> None:
        """Begin to make a zygote with these modules, unless there is one; returns at once.

        Raises
        ------
        OSError
            If the system refuses the process.
        """
        with self._lock:
            self._bury_the_dead()
            kind = kind_of(env)
            if not any(one.serves(preparation, kind) and one.has(preparation.modules) for one in self._processes):
                self._make(preparation, env, path)

    def connect(self, preparation: Preparation, rank_spec: RankSpec, gang: Watch) -> Connection:
        """Return the connection to a forkserver for one gang, made ahead if there is one.

        Raises
        ------
        InterruptedError
            If the gang is ordered to end meanwhile.
        OSError
            If no forkserver can be had; ranks can be started in another way then.
        """
        zygote = self._chosen(preparation, rank_spec, gang)
        try:
            with self._lock:
                connection = self._take_ahead(zygote) or zygote.order(0, 0.0, None)
            try:
                connection.greet(gang, _HELLO_PATIENCE)
            except BaseException:
                connection.close()
                raise
        except InterruptedError:
            raise
        except OSError as error:
            self._discard(zygote, str(error))
            raise
        return connection

    def _chosen(self, preparation: Preparation, rank_spec: RankSpec, gang: Watch) -> ZygoteClient:
        """Return the zygote for one gang when it is ready."""
        while True:
            with self._lock:
                zygote = self._zygote_for(preparation, rank_spec)
                # A duplicate: if another thread ends this zygote, its descriptor is closed and may be another file's.
                control = zygote.control.dup()
            try:
                with control:
                    zygote.wait_report(control, gang)
            except InterruptedError:
                raise
            except OSError as error:
                self._discard(zygote, str(error))
                if not zygote.has_been_grown():
                    raise
                continue  # the next zygote is a fresh one, which can report what is wrong
            with self._lock:
                if not self._give_up(zygote):
                    return zygote

    def _give_up(self, zygote: ZygoteClient) -> bool:
        """Close a zygote if it has found a harmful module, to be made anew without that; tell whether it has."""
        if not zygote.harm():
            return False
        self._harmful.update(zygote.harmful())
        if zygote in self._processes:
            self._processes.remove(zygote)
            zygote.close()
        return True

    def order_ahead(self, preparation: Preparation, rank_spec: RankSpec, nprocs: int) -> None:
        """Have the next gang's forkserver and spares made; an error is ignored until they are needed."""
        spares = min(nprocs, preparation.spares, self._affordable(), MOST_SPARES)
        with self._lock:
            self._bury_the_dead()
            with contextlib.suppress(OSError):
                kind = kind_of(rank_spec.env)
                kin = [one for one in self._processes if one.serves(preparation, kind)]
                ready = [one for one in reversed(kin) if one.report is not None]
                # the zygote that the next launch will use: one with all modules, or the one that was used last
                zygote = next((one for one in ready if one.has(preparation.modules)), next(iter(ready), None))
                if zygote is None or zygote.ahead is not None or spares < 1 or preparation.seconds <= 0:
                    return
                connection = zygote.order(spares, _DELAY, preparation.seconds + _MARGIN)
                zygote.ahead = Ahead(connection, time.monotonic() + preparation.seconds)

    def close(self) -> None:
        """End all zygotes and spares; the next launch makes new ones."""
        with self._lock:
            while self._processes:
                self._processes.pop().close()
            self._harmful.clear()
            self._suspects.clear()
            self._to_be_fresh.clear()

    def forget(self) -> None:
        """Close, in a forked process, the descriptors of the parent's zygotes."""
        self._lock = threading.RLock()
        while self._processes:
            self._processes.pop().disown()

    def state(self) -> list[dict[str, Any]]:
        """Describe each zygote, for ``%multiproc doctor``; the one used last comes first."""
        with self._lock:
            return [
                {
                    "pid": zygote.process.pid,
                    "alive": zygote.poll(),
                    "ready": zygote.report is not None,
                    "modules": [name for name in zygote.preparation.modules if name not in zygote.left_out()],
                    "variables": zygote.kind[0],
                    "spares": None if zygote.ahead is None else zygote.ahead.state(),
                    "left_out": zygote.left_out(),
                    "problem": "" if zygote.report is None else zygote.report["problem"],
                    "seconds": 0.0 if zygote.report is None else zygote.report["seconds"],
                }
                for zygote in reversed(self._processes)
            ]

    def _blame(self, zygote: ZygoteClient) -> None:
        """Leave out from now on the module that a zygote was importing when it died or hung."""
        culprit, code = zygote.importing(), zygote.process.poll()
        if not culprit:
            return
        if code in _KILLED and culprit not in self._suspects:  # it may have been killed for another reason
            self._suspects.add(culprit)
        elif code is None:
            self._harmful[culprit] = "its import took too long, or did not end"
        else:
            self._harmful[culprit] = f"its import ended the process, with exit code {code}"

    def _affordable(self) -> int:
        return int(available_memory() * _SHARE_OF_MEMORY) // _BYTES_PER_SPARE

    def _bury_the_dead(self) -> None:
        """Close zygotes that have died, and those of which a ready one can do all."""
        for zygote in list(self._processes):
            lives = zygote.poll()
            if not self._give_up(zygote) and not lives:
                self._discard(zygote, zygote.end_in_words())
        for newer in list(self._processes):
            for older in list(self._processes):
                if older is not newer and newer.report is not None and newer.outgrows(older):
                    self._processes.remove(older)
                    older.close()

    def _zygote_for(self, preparation: Preparation, rank_spec: RankSpec) -> ZygoteClient:
        """Return the zygote to use: one with all modules, unless only one with those that are needed is ready."""
        with self._lock:
            self._bury_the_dead()
            kind = kind_of(rank_spec.env)
            kin = [one for one in self._processes if one.serves(preparation, kind)]
            complete = next((one for one in kin if one.has(preparation.modules)), None)
            if complete is None:
                complete = self._make(preparation, rank_spec.env, rank_spec.sys_path)
            ready = (one for one in reversed(kin) if one.report is not None and one.has(preparation.needed))
            chosen = complete if complete.report is not None else next(ready, complete)
            self._processes.remove(chosen)
            self._processes.append(chosen)
            return chosen

    def _make(self, preparation: Preparation, env: Mapping[str, str], path: tuple[str, ...]) -> ZygoteClient:
        zygote = self._grown(preparation, env, path) or ZygoteClient.start(preparation, env, path, self._harmful)
        # zygotes that still import a part of the same modules are not needed any more
        for other in [one for one in self._processes if one.report is None and zygote.outgrows(one)]:
            self._processes.remove(other)
            other.close()
        self._processes.append(zygote)
        while len(self._processes) > _MOST_ZYGOTES:
            unready = (one for one in self._processes[:-1] if one.report is None)
            oldest = next(unready, self._processes[0])
            self._processes.remove(oldest)
            oldest.close()
        return zygote

    def _grown(self, preparation: Preparation, env: Mapping[str, str], path: tuple[str, ...]) -> ZygoteClient | None:
        """Fork a zygote from one with fewer modules, so that it imports only the others; None if there is none."""
        kind = kind_of(env)
        bases = [one for one in self._processes if one.can_become(preparation, kind)]
        if not bases or preparation.modules in self._to_be_fresh:
            return None
        base = max(bases, key=lambda one: len(one.preparation.modules))
        try:
            return ZygoteClient.grow(base, preparation, env, path, self._harmful)
        except OSError as error:
            logger.debug("a zygote (pid %d) has forked no other one: %s", base.process.pid, error)
            return None

    def _take_ahead(self, zygote: ZygoteClient) -> Connection | None:
        with self._lock:
            ahead, zygote.ahead = zygote.ahead, None
        if ahead is None:
            return None
        if time.monotonic() < ahead.until:
            with contextlib.suppress(OSError):
                ahead.connection.hear()
                if not ahead.connection.is_gone():
                    ahead.connection.server.send(b"t")
                    return ahead.connection
        ahead.connection.close()
        return None

    def _discard(self, zygote: ZygoteClient, why: str) -> None:
        with self._lock:
            if zygote in self._processes:  # else another thread has closed it already
                logger.warning("a zygote (pid %d) failed and is replaced: %s", zygote.process.pid, why)
                self.failures.append(why)
                if zygote.has_been_grown() and zygote.process.poll() is not None:
                    # only a fresh one, which is a child of this process, shows how it ends
                    self._to_be_fresh.add(zygote.preparation.modules)
                else:
                    self._blame(zygote)
                self._processes.remove(zygote)
                zygote.close()


ZYGOTES = Zygotes()
os.register_at_fork(after_in_child=ZYGOTES.forget)
atexit.register(ZYGOTES.close)


class Zygote(Forkserver):
    """Forks of a process that lives as long as the notebook's kernel and has imported its heavy libraries.

    If the zygote fails, the ranks come from a forkserver of their own, as with start method ``forkserver``; if they
    differ in variables that libraries read when they are loaded, they are fresh interpreters.
    """

    _from_zygote = False

    def __init__(self, gang: Watch, rank_specs: Sequence[RankSpec], preparation: Preparation) -> None:
        super().__init__(gang, rank_specs, preparation)
        unlike = any(differ_at_load(rank_specs[0].env, other.env) for other in rank_specs[1:])
        self._apart: StartMethod | None = Spawn(gang, rank_specs, preparation) if unlike else None

    def start(self, rank_spec: RankSpec, descriptors: Descriptors, inherited: object) -> int:
        """Start a rank; see `StartMethod.start`."""
        if self._apart is not None:
            return self._apart.start(rank_spec, descriptors, inherited)
        return super().start(rank_spec, descriptors, inherited)

    def _connect(self, rank_spec: RankSpec) -> Connection:
        try:
            connection = ZYGOTES.connect(self._preparation, rank_spec, self._gang)
        except InterruptedError:
            raise
        except OSError:
            return super()._connect(rank_spec)
        self._from_zygote = True
        return connection

    def close(self) -> None:
        """End the forkserver, and have the next one made."""
        super().close()
        if self._apart is not None:
            self._apart.close()
        if self._from_zygote:
            ZYGOTES.order_ahead(self._preparation, self._rank_specs[0], len(self._rank_specs))
