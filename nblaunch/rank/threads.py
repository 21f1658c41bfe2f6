"""How many threads the numerical libraries of a rank may use.

OpenMP and BLAS read their variables when they are loaded; whatever was loaded before the rank knew its share, such as a
library that a captured object brought in, is told through threadpoolctl and torch's own call.
"""

from __future__ import annotations

import os
import sys

__all__ = ["VARIABLES", "fair_share", "limit_threads"]

VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def fair_share(nprocs: int) -> int:
    """Return how many threads each of `nprocs` ranks can use without having to share a core; at least 1."""
    return max(1, len(os.sched_getaffinity(0)) // nprocs)


def limit_threads(threads: int) -> None:
    """Hold the libraries that are loaded to `threads` threads each."""
    if any(name in sys.modules for name in ("numpy", "scipy", "sklearn", "torch")):
        import threadpoolctl

        threadpoolctl.threadpool_limits(limits=threads)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)
