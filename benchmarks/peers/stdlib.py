"""The standard library's `multiprocessing` with its forkserver, which has imported the same."""

from __future__ import annotations

import multiprocessing
import sys
import time
from multiprocessing.connection import Connection

from benchmarks.contender import Ranks, Sample
from benchmarks.programs import trivial

__all__ = ["Forkserver"]


class Forkserver(Ranks):
    """One `Process` per rank, a pipe each for its value; the server is started before and stays."""

    def setup(self) -> None:
        """Start the server."""
        super().setup()
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["__main__", "numpy", "torch", "IPython", __name__])

    def sample(self) -> Sample:
        """Start processes, take their values, join them."""
        began = time.perf_counter()
        ranks = []
        for _ in range(self._nprocs):
            ours, theirs = self._context.Pipe(duplex=False)
            process = self._context.Process(target=_answer, args=(theirs,))
            process.start()
            theirs.close()
            ranks.append((process, ours))
        answers = set()
        for process, pipe in ranks:
            answers.add(pipe.recv())
            pipe.close()
            process.join()
        seconds = time.perf_counter() - began
        for process, _ in ranks:
            process.close()
        if len(answers) != self._nprocs or not all(preloaded for _, preloaded in answers):
            raise RuntimeError(f"not every process has answered and had torch: {answers}")
        return {"value": seconds}


def _answer(pipe: Connection) -> None:
    # importing failures of a preload are silent: fewer modules would make a smaller process, which forks faster
    pipe.send((trivial(), "torch" in sys.modules))
