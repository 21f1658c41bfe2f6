"""Settings of libraries for arrays: NumPy, SciPy, scikit-learn, joblib."""

from __future__ import annotations

from typing import Any

from nblaunch.settings.library import Library, attribute, differing

__all__ = ["NUMERIC"]

_NUMPY_ERRORS = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
_NUMPY_PRINTING = {
    "edgeitems": 3, "threshold": 1000, "floatmode": "maxprec", "precision": 8, "suppress": False, "linewidth": 75,
    "nanstr": "nan", "infstr": "inf", "sign": "-", "formatter": None, "legacy": False, "override_repr": None,
}  # fmt: skip


def _read_numpy(module: Any) -> dict[str, Any]:
    errors = differing(module.geterr(), _NUMPY_ERRORS)
    found = {"errstate": errors} if errors else {}
    printing = differing(module.get_printoptions(), _NUMPY_PRINTING)
    if printing:
        found["printoptions"] = printing
    if module.geterrcall() is not None:
        found["errcall"] = module.geterrcall()
    return found


def _apply_numpy(module: Any, name: str, value: Any) -> None:
    if name == "errstate":
        module.seterr(**value)
    elif name == "printoptions":
        module.set_printoptions(**value)
    else:
        module.seterrcall(value)


def _read_masked(module: Any) -> dict[str, Any]:
    option = module.masked_print_option
    found = {"display": option.display(), "enabled": option.enabled()}
    return differing(found, {"display": "--", "enabled": True})


def _apply_masked(module: Any, name: str, value: Any) -> None:
    option = module.masked_print_option
    (option.set_display if name == "display" else option.enable)(value)


def _read_polynomials(module: Any) -> dict[str, Any]:
    return {} if attribute(module, "_polybase.ABCPolyBase._use_unicode", True) else {"default_printstyle": "ascii"}


_SCIPY_ERRORS = dict.fromkeys(
    ("singular", "underflow", "overflow", "slow", "loss", "no_result", "domain", "arg", "other"), "ignore"
) | {"memory": "raise"}


def _read_scipy(module: Any) -> dict[str, Any]:
    errors = differing(module.geterr(), _SCIPY_ERRORS)
    return {"errors": errors} if errors else {}


_SKLEARN = {
    "assume_finite": False, "working_memory": 1024, "print_changed_only": True, "display": "diagram",
    "pairwise_dist_chunk_size": 256, "enable_cython_pairwise_dist": True, "array_api_dispatch": False,
    "transform_output": "default", "enable_metadata_routing": False, "skip_parameter_validation": False,
    "sparse_interface": "spmatrix",
}  # fmt: skip


def _read_joblib(module: Any) -> dict[str, Any]:
    """Return what `joblib.parallel_config` has set for this thread."""
    defaults = attribute(module, "default_parallel_config")
    now = attribute(module, "_backend.config")
    if not defaults or not now:
        return {}
    chosen = {name: value for name, value in now.items() if value is not defaults.get(name)}
    backend = chosen.pop("backend", None)
    found: dict[str, Any] = {}
    if backend is not None:
        kind = type(backend)
        name = next((name for name, known in module.BACKENDS.items() if known is kind), None)
        if name is None:
            told = (
                f"The backend {kind.__name__} of joblib.parallel_config stays in the notebook: choose it in a set-up "
                "cell (%%multiproc --setup)"
            )
            found["stays"] = (told,)
        else:
            chosen["backend"] = name
            threads = getattr(backend, "inner_max_num_threads", None)
            if threads is not None:
                chosen["inner_max_num_threads"] = threads
    if chosen:
        found["parallel_config"] = chosen
    return found


NUMERIC = (
    Library("numpy", _read_numpy, _apply_numpy),
    Library("numpy.ma.core", _read_masked, _apply_masked),
    Library("numpy.polynomial", _read_polynomials, lambda module, _, value: module.set_default_printstyle(value)),
    Library("scipy.special", _read_scipy, lambda module, _, value: module.seterr(**value)),
    Library(
        "sklearn",
        lambda module: differing(module.get_config(), _SKLEARN),
        lambda module, name, value: module.set_config(**{name: value}),
    ),
    Library("joblib.parallel", _read_joblib, lambda module, _, value: module.parallel_config(**value)),
)
"""Settings of the libraries for arrays."""
