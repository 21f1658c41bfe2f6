"""ipyparallel: engines that have been started before and stay, driven by `%%px` or by a client."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.cell import InKernel
from benchmarks.contender import Contender, Sample, import_what_a_notebook_has
from benchmarks.idle_rank import memory_of
from benchmarks.programs import few_elements, import_torch, make_array, trivial
from tests.kernel import Reply, without_escapes

__all__ = ["Apply", "Cell", "Idle", "Pull", "Push"]

START = """
import ipyparallel
cluster = ipyparallel.Cluster(n={engines})
client = cluster.start_and_connect_sync()
client[:].scatter("rank", range({engines}), flatten=True, block=True)
view = client[:]
view.block = True  # otherwise the cell ends when its work has been submitted
view.activate()
"""


class Cell(InKernel):
    """``%%px`` in a notebook, where each engine knows its rank."""

    cell = "%%px\nrank"

    def __init__(self, engines: int) -> None:
        self.preparation = START.format(engines=engines)
        self._expected = [str(rank) for rank in range(engines)]

    def check(self, reply: Reply) -> None:
        """All engines have answered, in this very cell."""
        shown = [output["data"]["text/plain"] for output in reply.outputs]
        values = sorted(without_escapes(text).rpartition(":")[2].strip() for text in shown)
        if values != self._expected:
            raise RuntimeError(f"the cell showed {shown}")

    def close(self) -> None:
        """Stop engines and kernel."""
        self.kernel.run("cluster.stop_cluster_sync()")
        super().close()


class _Engines(Contender):
    def __init__(self, engines: int, mebibytes: int = 0) -> None:
        self._engines, self._mebibytes = engines, mebibytes

    def setup(self) -> None:
        """Start the cluster."""
        import_what_a_notebook_has()
        import ipyparallel

        self._cluster = ipyparallel.Cluster(n=self._engines)
        self.client = self._cluster.start_and_connect_sync()
        self.view: Any = self.client[:]
        self.view.apply_sync(import_torch)

    def close(self) -> None:
        """Stop the cluster."""
        self.client.close()
        self._cluster.stop_cluster_sync()


class Apply(_Engines):
    """A call on all engines."""

    def sample(self) -> Sample:
        """Call."""
        began = time.perf_counter()
        values = self.view.apply_sync(trivial)
        seconds = time.perf_counter() - began
        if len(set(values)) != self._engines:
            raise RuntimeError(f"not every engine has answered: {values}")
        return {"value": seconds}


class Push(_Engines):
    """A large array pushed to all engines, which then sum a few of its elements."""

    def sample(self) -> Sample:
        """Push, and have all sums; the pushing alone is told apart."""
        array = make_array(self._mebibytes, 1.0)
        expected = few_elements(array)
        began = time.perf_counter()
        self.view.push({"array": array}, block=True)
        pushed = time.perf_counter()
        import ipyparallel

        sums = self.view.apply_sync(few_elements, ipyparallel.Reference("array"))
        seconds = time.perf_counter() - began
        _tidy_up(self.view, self.client)
        if sums != [expected] * self._engines:
            raise RuntimeError(f"the sums are wrong: {sums}")
        return {"value": seconds, "push": pushed - began}


class Pull(_Engines):
    """A large array made by all engines and pulled; the pulling alone is told apart."""

    def sample(self) -> Sample:
        """Make, then pull."""
        began = time.perf_counter()
        self.view.execute(
            f"from benchmarks.programs import make_array; array = make_array({self._mebibytes}, 1.0)", block=True
        )
        made = time.perf_counter()
        arrays = self.view.pull("array", block=True)
        ended = time.perf_counter()
        right = [float(array.mean()) for array in arrays] == [1.0] * self._engines
        del arrays
        _tidy_up(self.view, self.client)
        if not right:
            raise RuntimeError("the arrays are wrong")
        return {"value": ended - began, "pull": ended - made}


class Idle(_Engines):
    """Engines that have imported torch and wait."""

    def sample(self) -> Sample:
        """Look at their memory."""
        return memory_of(self.view.apply_sync(trivial))


def _tidy_up(view: Any, client: Any) -> None:
    view.execute("del array", block=True)
    # the client keeps all results otherwise
    client.purge_everything()
