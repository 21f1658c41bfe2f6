"""How many threads the numerical libraries of a rank may use.

OpenMP and BLAS read their environment variables when they are loaded. A zygote loads them with one thread each, so that
it can be forked. In its forks their number of threads is then set through threadpoolctl, and through torch.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

__all__ = ["VARIABLES", "cores", "fair_share", "limit_threads", "note_loaded", "tell_loaded"]

VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

_ANY = sys.maxsize


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


# The variables from which each library that threadpoolctl knows takes its number of threads, and the largest number.
_OWN_RULES = {
    "openblas": (("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"), cores()),
    "mkl": (("MKL_NUM_THREADS", "OMP_NUM_THREADS"), cores()),
    "blis": (("BLIS_NUM_THREADS", "OMP_NUM_THREADS"), _ANY),
    "flexiblas": (("OMP_NUM_THREADS",), _ANY),
    "openmp": (("OMP_NUM_THREADS",), _ANY),
}

# The libraries that were loaded with one thread each, before this process was forked.
_loaded: list[Any] = []


def fair_share(nprocs: int) -> int:
    """Return how many threads each of `nprocs` ranks can use without sharing cores; at least 1."""
    return max(1, cores() // nprocs)


def note_loaded() -> None:
    """Find the loaded libraries, for `tell_loaded` in processes that are forked from this one."""
    if any(name in sys.modules for name in ("numpy", "scipy", "sklearn", "torch")):
        import threadpoolctl

        _loaded[:] = threadpoolctl.ThreadpoolController().lib_controllers


def tell_loaded(env: Mapping[str, str]) -> None:
    """Set the number of threads of the libraries found by `note_loaded` as these variables say."""
    for library in _loaded:
        variables, most = _OWN_RULES.get(library.internal_api, (("OMP_NUM_THREADS",), _ANY))
        threads = min(most, _threads_by(env, variables))
        if threads > 1:
            library.set_num_threads(threads)
    if _loaded and "torch" in sys.modules:
        _tell_torch(sys.modules["torch"], env)
    if _loaded and "numexpr" in sys.modules:
        sys.modules["numexpr"].set_num_threads(_threads_by(env, ("NUMEXPR_NUM_THREADS", "OMP_NUM_THREADS")))


def _tell_torch(torch: ModuleType, env: Mapping[str, str]) -> None:
    # torch asks MKL, which takes no more threads than there are cores
    threads = _threads_by(env, ("MKL_NUM_THREADS", "OMP_NUM_THREADS"))
    if torch.backends.mkl.is_available():
        threads = min(threads, cores())
    # torch brings an OpenMP library of its own, whose number may differ
    if threads != torch.get_num_threads():
        torch.set_num_threads(threads)


def _threads_by(env: Mapping[str, str], variables: tuple[str, ...]) -> int:
    for name in variables:
        # OpenMP takes one number for each level of nesting
        number = re.match(r"\s*0*([1-9]\d*)", env.get(name, ""))
        if number:
            return int(number[1])
    return cores()


def limit_threads(threads: int) -> None:
    """Limit the loaded libraries to `threads` threads each."""
    if any(name in sys.modules for name in ("numpy", "scipy", "sklearn", "torch")):
        import threadpoolctl

        threadpoolctl.threadpool_limits(limits=threads)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)
