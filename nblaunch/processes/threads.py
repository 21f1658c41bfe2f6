"""How many threads the numerical libraries of a rank may use.

OpenMP and BLAS read their variables when they are loaded. What a zygote has loaded, with one thread each so that it can
be forked, is told afterwards, through threadpoolctl and torch's own call.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

__all__ = ["VARIABLES", "fair_share", "limit_threads", "note_loaded", "tell_loaded"]

VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

# Where each library that threadpoolctl knows looks for its number, first to last.
_OWN_VARIABLES = {
    "openblas": ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"),
    "mkl": ("MKL_NUM_THREADS", "OMP_NUM_THREADS"),
    "blis": ("BLIS_NUM_THREADS", "OMP_NUM_THREADS"),
    "flexiblas": ("OMP_NUM_THREADS",),
    "openmp": ("OMP_NUM_THREADS",),
}

# The libraries that were loaded with one thread each, before this process was forked.
_loaded: list[Any] = []


def fair_share(nprocs: int) -> int:
    """Return how many threads each of `nprocs` ranks can use without having to share a core; at least 1."""
    return max(1, len(os.sched_getaffinity(0)) // nprocs)


def note_loaded() -> None:
    """Find the libraries that are loaded, for `tell_loaded` in processes that are forked from this one."""
    if any(name in sys.modules for name in ("numpy", "scipy", "sklearn", "torch")):
        import threadpoolctl

        _loaded[:] = threadpoolctl.ThreadpoolController().lib_controllers


def tell_loaded(env: Mapping[str, str]) -> None:
    """Give the libraries that `note_loaded` has found the threads that they would have taken from these variables."""
    for library in _loaded:
        threads = _threads_by(env, _OWN_VARIABLES.get(library.internal_api, ("OMP_NUM_THREADS",)))
        if threads > 1:
            library.set_num_threads(threads)
    for module, variables in (("torch", ("OMP_NUM_THREADS",)), ("numexpr", _NUMEXPR)):
        threads = _threads_by(env, variables)
        if _loaded and threads > 1 and module in sys.modules:
            sys.modules[module].set_num_threads(threads)


_NUMEXPR = ("NUMEXPR_NUM_THREADS", "OMP_NUM_THREADS")


def _threads_by(env: Mapping[str, str], variables: tuple[str, ...]) -> int:
    for name in variables:
        if env.get(name, "").isdigit():
            return max(1, int(env[name]))
    return len(os.sched_getaffinity(0))


def limit_threads(threads: int) -> None:
    """Hold the libraries that are loaded to `threads` threads each."""
    if any(name in sys.modules for name in ("numpy", "scipy", "sklearn", "torch")):
        import threadpoolctl

        threadpoolctl.threadpool_limits(limits=threads)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)
