"""`RankMaker`: makes the processes of a gang's ranks, and the descriptors that connect them with the gang."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace

from nblaunch.payload import Packed, store
from nblaunch.processes import _linux
from nblaunch.processes.child.rank_spec import Descriptors, RankSpec
from nblaunch.processes.gang.inbox import Inbox
from nblaunch.processes.gang.watched_rank import WatchedRank
from nblaunch.processes.starting.base import PARENT_ONLY_FDS, StartMethod
from nblaunch.processes.threads import cores
from nblaunch.refusals import explained

__all__ = ["RankMaker"]


class RankMaker:
    """Makes one process after the other.

    Parameters
    ----------
    method : StartMethod
        Starts each process.
    payload, bags, inherited
        See `nblaunch.processes.gang.gang.Gang`; they are dropped when all ranks are made.
    """

    def __init__(
        self, method: StartMethod, payload: Sequence[Packed], bags: Sequence[socket.socket], inherited: object
    ) -> None:
        self._method = method
        self._payload = list(payload)
        self._bags = list(bags)
        self._inherited = inherited
        self._guard_writer = -1

    @contextlib.contextmanager
    def shared_descriptors(self) -> Iterator[Descriptors]:
        """Write the payload, and keep the descriptors that all ranks share open while the ranks are made."""
        with contextlib.ExitStack() as stack:
            guard_reader, self._guard_writer = os.pipe()
            PARENT_ONLY_FDS.add(self._guard_writer)
            stack.callback(os.close, guard_reader)
            payload: tuple[int, ...] = ()
            if self._payload:
                payload = stack.enter_context(store(*self._payload, most_files=cores())).descriptors
                self._payload.clear()  # its buffers are the user's arrays, which may be freed from now on
            yield Descriptors(payload=payload, guard=guard_reader, bags=tuple(map(socket.socket.fileno, self._bags)))
        self._close_bags()
        self._inherited = None

    def make(self, rank_spec: RankSpec, shared: Descriptors) -> WatchedRank:
        """Make the process of a rank.

        Raises
        ------
        OSError
            If the system refuses it.
        """
        while True:
            try:
                return self._make(rank_spec, shared)
            except OSError as refusal:
                # no descriptors are left: try again without those of spares
                if refusal.errno not in (errno.EMFILE, errno.ENFILE) or not self._method.release_spare_fds():
                    raise explained(refusal) from refusal

    def _make(self, rank_spec: RankSpec, shared: Descriptors) -> WatchedRank:
        with contextlib.ExitStack() as stack:
            guard = _linux.own_description(shared.guard)
            stack.callback(os.close, guard)
            if rank_spec.entry:
                ours, theirs = socket.socketpair()
                stack.enter_context(theirs)
                PARENT_ONLY_FDS.add(ours.fileno())
                inbox = Inbox(ours)
                control = theirs.fileno()
            else:
                inbox, control = None, -1
            try:
                own = replace(shared, control=control, guard=guard)
                pid = self._method.start(rank_spec, own, self._inherited)
            except BaseException:
                if inbox is not None:
                    PARENT_ONLY_FDS.discard(inbox.fileno())
                    inbox.close()
                raise
        return WatchedRank(rank_spec.rank, pid, inbox, rank_spec.stacks)

    def close(self) -> None:
        """Close the guard pipe, upon which the kernel kills what is left in the ranks' process groups, and the bags."""
        with contextlib.ExitStack() as stack:
            if self._guard_writer >= 0:
                PARENT_ONLY_FDS.discard(self._guard_writer)
                stack.callback(os.close, self._guard_writer)
            stack.callback(self._close_bags)

    def _close_bags(self) -> None:
        while self._bags:
            self._bags.pop().close()
