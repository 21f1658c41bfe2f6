"""Which modules a zygote may import: known to be safe to fork from, installed rather than the user's own."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

__all__ = [
    "NEVER",
    "SAFE",
    "forget_learnt",
    "is_own",
    "learn",
    "learnt",
    "modules_of_first_use",
    "refusal",
    "safe_modules",
    "unwanted_in_zygote",
]

# Imported once and forked often without harm: an import of theirs starts no thread that stays, holds no lock and opens
# no connection, with the number of threads set to 1. The zygote looks again, in case a version differs.
SAFE = frozenset(
    {
        "IPython", "PIL", "accelerate", "cloudpickle", "cv2", "datasets", "einops", "h5py", "imageio", "joblib",
        "lightning", "lightning_fabric", "lightning_utilities", "matplotlib", "matplotlib_inline", "networkx",
        "numba", "numexpr", "numpy", "pandas", "plotly", "pyarrow", "pydantic", "pytorch_lightning", "requests",
        "safetensors", "scipy", "seaborn", "skimage", "sklearn", "statsmodels", "sympy", "tokenizers", "torch",
        "torchaudio", "torchmetrics", "torchvision", "tqdm", "transformers", "xarray", "yaml", "zarr",
    }
)  # fmt: skip

# Why a library is never imported before a fork, whatever anybody asks for.
NEVER = {
    "jax": "it runs threads, and says itself that a fork of it may deadlock",
    "jaxlib": "it runs threads, and says itself that a fork of it may deadlock",
    "tensorflow": "it starts threads, which a fork does not have",
    "keras": "it imports a backend, which may start threads",
    "torch_xla": "it starts threads, which a fork does not have",
    "ray": "it holds threads and connections, which a fork cannot share",
    "grpc": "it holds threads and connections, which a fork cannot share",
    "pyspark": "it holds a connection to a Java process, which a fork cannot share",
    "polars": "it says itself that a fork of it may deadlock",
    "cupy": "it touches CUDA, which a forked process cannot use afterwards",
    "pycuda": "it touches CUDA, which a forked process cannot use afterwards",
    "cudf": "it touches CUDA, which a forked process cannot use afterwards",
}


def safe_modules(extra: Iterable[str] = (), among: AbstractSet[str] | None = None) -> tuple[str, ...]:
    """Return those of the modules imported here that a zygote shall import too, and the extra ones, sorted.

    `among` are the modules that count as imported, if others may be importing just now; by default all.

    Parts of a package count down to the second level (``torch.distributed``, ``matplotlib.pyplot``): what lies deeper
    mostly comes along, and a private part is none that anybody asks for.
    """
    found = _imported_here(SAFE, len(sys.modules))
    return tuple(sorted((found if among is None else found & among) | set(extra) | _learnt))


# What a package imports only when it is first used, and what programs write that use it so: in every rank such an
# import would take its time anew.
_ON_FIRST_USE = {"torch._dynamo": ("torch.optim", "optim.", "configure_optimizers")}


def modules_of_first_use(mentioned: Callable[[str], bool]) -> list[str]:
    """Return modules that ranks will import, although the notebook has not.

    ``torch.optim.SGD(...)`` imports ``torch._dynamo``, which takes as long as torch itself.

    Parameters
    ----------
    mentioned : callable
        Tells whether the ranks' program contains a text.
    """
    return [
        name
        for name, texts in _ON_FIRST_USE.items()
        if name.partition(".")[0] in sys.modules and name not in _learnt and any(map(mentioned, texts))
    ]


# What ranks have spent time to import.
_learnt: set[str] = set()


def learn(names: Iterable[str]) -> None:
    """Have modules that ranks have imported imported ahead from now on, those that are known to be safe."""
    for name in names:
        top = name.partition(".")[0]
        if top in SAFE and all(part.isidentifier() for part in name.split(".")) and not is_own(top):
            _learnt.add(name)


def learnt() -> list[str]:
    """Return the modules that are imported ahead because ranks have imported them, sorted."""
    return sorted(_learnt)


def forget_learnt() -> None:
    """Let all of that be forgotten."""
    _learnt.clear()


@functools.lru_cache(maxsize=1)
def _imported_here(safe: frozenset[str], _: int) -> frozenset[str]:
    # Every launch asks, and going through two thousand modules takes a millisecond. That their number is the same as
    # before says that they are, but for a rare swap, which the next import sets right.
    modules = list(sys.modules.items())
    packages = {top for top in safe if top in sys.modules and not is_own(top)}
    return frozenset(
        name
        for name, module in modules
        if name.partition(".")[0] in packages and _is_plain(name) and _is_importable(module, name)
    )


def refusal(name: str) -> str:
    """Say why a module that somebody asks for cannot be imported ahead; empty if it can."""
    top = name.partition(".")[0]
    if not all(part.isidentifier() for part in name.split(".")):
        return f"{name!r} is no name of a module"
    if top in NEVER:
        return f"{top} must not be imported before a fork: {NEVER[top]}"
    if top == "nblaunch" or top == "__main__":
        return f"{top} is not imported ahead: it is there anyway"
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return f"there is no module {top!r} to import: is it installed in this kernel's environment?"
    missing = _missing_part(name, spec)
    if missing:
        return f"there is no module {missing!r} in {missing.rpartition('.')[0]}"
    if is_own(top):
        return (
            f"{top} is not installed but lies in a folder of yours ({_place(top)}): imported ahead, it would be stale "
            "after the next edit. Ranks import it when they start"
        )
    return ""


def _missing_part(name: str, spec: ModuleSpec) -> str:
    """Return the first part of a dotted name that is not where its package's parts are; imports nothing."""
    found: ModuleSpec | None = spec
    path = name.partition(".")[0]
    for part in name.split(".")[1:]:
        path += f".{part}"
        if path in sys.modules:  # one that its package makes itself lies nowhere
            found = sys.modules[path].__spec__
        elif found is not None and found.submodule_search_locations is not None:
            found = PathFinder.find_spec(path, list(found.submodule_search_locations))
        else:
            found = None
        if found is None:
            return path
    return ""


def unwanted_in_zygote(top: str) -> str:
    """Say what is wrong with a package that came along with another one's import; empty if nothing is."""
    if top in NEVER:
        return f"{top}, and {NEVER[top]}"
    if top not in ("nblaunch", "__main__") and is_own(top):
        return f"{top}, which lies in a folder of yours ({_place(top)}) and would be stale after the next edit"
    return ""


def _is_plain(name: str) -> bool:
    parts = name.split(".")
    return len(parts) <= 2 and not any(part.startswith("_") for part in parts)


def _is_importable(module: ModuleType | None, name: str) -> bool:
    # lazy stand-ins and aliases are in sys.modules too
    spec = getattr(module, "__spec__", None)
    return spec is not None and spec.name == name


def is_own(name: str) -> bool:
    """Tell whether a module's package lies outside the folders that packages are installed in."""
    place = _place(name.partition(".")[0])
    # environments and modules of clusters put folders of packages in other places
    apart = {"site-packages", "dist-packages"}.isdisjoint(Path(place).parts)
    return bool(place) and apart and not place.startswith(_installed())


def _place(top: str) -> str:
    """Return the file or folder of a top-level module; empty if it is built in."""
    module = sys.modules.get(top)
    try:
        spec = getattr(module, "__spec__", None) or importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return ""
    if spec is None:
        return ""
    if spec.has_location and spec.origin:
        return os.path.realpath(spec.origin)
    places = list(spec.submodule_search_locations or ())
    return os.path.realpath(places[0]) if places else ""


@functools.cache
def _installed() -> tuple[str, ...]:
    import site

    paths = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    # an environment may show the packages of the interpreter that it was made from
    paths.update(site.getsitepackages([sys.prefix, sys.base_prefix]))
    paths.add(site.getusersitepackages())
    # Debian's interpreter has packages of the system beside those of its own scheme
    paths.add(os.path.join(sys.prefix, "lib", "python3", "dist-packages"))
    return tuple(os.path.join(os.path.realpath(path), "") for path in paths if path)
