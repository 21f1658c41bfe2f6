"""What a process cannot change later: variables that it reads only once, and what its parent hands down."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Mapping

from nblaunch.processes.threads import VARIABLES

__all__ = ["Kind", "differ_at_load", "differ_for_libraries_only", "inherited", "kind_of", "read_at_load"]

# What cannot be changed any more when a process has begun and has loaded its libraries.
Kind = tuple[dict[str, str], dict[str, object]]

# By what they begin with: OpenMP and BLAS, and the libraries that a zygote may import.
# TORCH_NCCL_… are read when a process group is made.
_READ_BY_LIBRARIES = re.compile(
    r"OMP_|GOMP_|KMP_|MKL_|OPENBLAS_|GOTO_|BLIS_|FLEXIBLAS|NUMEXPR_|VECLIB_"
    r"|NPY_|NUMPY_|NUMBA_|PYTORCH_|TORCH_(?!NCCL_)|TORCHDYNAMO_|TORCHINDUCTOR_|ATEN_|MPL|MATPLOTLIB|SKLEARN_|SCIPY_"
    r"|ARROW_|PANDAS_|SYMPY_|PLOTLY_|ZARR_|HDF5_|OPENCV_|JOBLIB_|HF_|HUGGINGFACE_|TRANSFORMERS_|DATASETS_|ACCELERATE_|TQDM_"
    r"|PROTOCOL_BUFFERS_"
)
# The dynamic linker and the C library, Python, where libraries look for their settings, locale.
# PYTHONUNBUFFERED concerns streams, which a rank opens anew.
_READ_AT_START = re.compile(r"LD_|MALLOC_|GLIBC_|PYTHON(?!UNBUFFERED)|XDG_|IPYTHONDIR$|HOME$|LANG$|LANGUAGE$|LC_|TZ$")


def kind_of(env: Mapping[str, str]) -> Kind:
    """Return what a process with this environment, started from here, is stuck with."""
    return read_at_load(env), inherited()


def differ_at_load(one: dict[str, str], other: dict[str, str]) -> bool:
    """Tell whether two environments differ in such a variable."""
    return bool(read_at_load(dict(one.items() - other.items())) or read_at_load(dict(other.items() - one.items())))


def differ_for_libraries_only(one: Kind, other: Kind) -> bool:
    """Tell whether two kinds are alike for a process that has not loaded any library that reads such a variable."""
    differing = {name for name, _ in one[0].items() ^ other[0].items()}
    return one[1] == other[1] and not any(map(_READ_AT_START.match, differing))


def read_at_load(env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that cannot be changed any more in a process that has loaded its libraries.

    A plain number of threads is left out: loaded libraries can be told, see `nblaunch.processes.threads`.
    """
    return {
        name: value
        for name, value in env.items()
        if (_READ_AT_START.match(name) or _READ_BY_LIBRARIES.match(name))
        and not (name in VARIABLES and value.isdigit())
    }


def inherited() -> dict[str, object]:
    """Return what a process that is started here would be handed down, and keep."""
    with open("/proc/self/status") as status:
        umask = next((line.split()[1] for line in status if line.startswith("Umask:")), "")
    return {
        "umask": umask,
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "cores": os.sched_getaffinity(0),
        "limits": [resource.getrlimit(number) for number in _LIMITS],
    }


_LIMITS = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")]
