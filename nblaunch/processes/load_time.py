"""Environment variables that are read only once, while the interpreter or a library is loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping

from nblaunch.processes.threads import VARIABLES

__all__ = ["differ_at_load", "read_at_load"]

# By what they begin with: the dynamic linker and the C library, Python, OpenMP and BLAS, numerical libraries, locale.
# PYTHONUNBUFFERED concerns streams, which a rank opens anew, and TORCH_NCCL_… are read when a process group is made.
_READ_AT_LOAD = re.compile(
    r"LD_|MALLOC_|GLIBC_|PYTHON(?!UNBUFFERED)"
    r"|OMP_|GOMP_|KMP_|MKL_|OPENBLAS_|GOTO_|BLIS_|FLEXIBLAS|NUMEXPR_|VECLIB_"
    r"|NPY_|NUMPY_|NUMBA_|PYTORCH_|TORCH_(?!NCCL_)|ATEN_|MPL|SKLEARN_|SCIPY_|ARROW_"
    r"|LANG$|LANGUAGE$|LC_|TZ$"
)


def differ_at_load(one: dict[str, str], other: dict[str, str]) -> bool:
    """Tell whether two environments differ in such a variable."""
    return bool(read_at_load(dict(one.items() - other.items())) or read_at_load(dict(other.items() - one.items())))


def read_at_load(env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that cannot be changed any more in a process that has loaded its libraries.

    A plain number of threads is left out: loaded libraries can be told, see `nblaunch.processes.threads`.
    """
    return {
        name: value
        for name, value in env.items()
        if _READ_AT_LOAD.match(name) and not (name in VARIABLES and value.isdigit())
    }
