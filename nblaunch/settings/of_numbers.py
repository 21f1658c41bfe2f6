"""Settings of NumPy, pandas, scikit-learn, matplotlib and other libraries that compute or draw."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from nblaunch.settings.setting import UNCHANGED, Setting, attribute, changed_items

__all__ = ["SETTINGS"]

_ERRORS = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
_PRINTED = {
    "precision": 8,
    "threshold": 1000,
    "edgeitems": 3,
    "linewidth": 75,
    "suppress": False,
    "nanstr": "nan",
    "infstr": "inf",
    "sign": "-",
    "formatter": None,
    "floatmode": "maxprec",
    "legacy": False,
}
_SKLEARN = {
    "assume_finite": False,
    "working_memory": 1024,
    "print_changed_only": True,
    "display": "diagram",
    "pairwise_dist_chunk_size": 256,
    "enable_cython_pairwise_dist": True,
    "array_api_dispatch": False,
    "transform_output": "default",
    "enable_metadata_routing": False,
    "skip_parameter_validation": False,
}
# Where and when figures are drawn is a matter of the process that draws them.
_OF_THE_PROCESS = {"backend", "backend_fallback", "interactive", "toolbar", "webagg.address", "webagg.port"}


def _pandas_options(pandas: Any) -> Any:
    config = getattr(pandas._config, "config", None)
    registered = getattr(config, "_registered_options", {})
    found = {}
    for name, option in registered.items():
        holder = config._global_config  # type: ignore[union-attr]
        for part in name.split("."):
            holder = holder[part]
        if holder is not option.defval and holder != option.defval:
            found[name] = holder
    return found or UNCHANGED


def _set_pandas_options(pandas: Any, found: dict[str, Any]) -> None:
    for name, value in found.items():
        pandas.set_option(name, value)


def _rc_params(matplotlib: Any) -> Any:
    # as dictionaries: to ask for the backend would choose one
    before = dict(dict.items(matplotlib.rcParamsOrig))
    found = {
        name: value
        for name, value in dict.items(matplotlib.rcParams)
        if before.get(name) is not value and before.get(name) != value and name not in _OF_THE_PROCESS
    }
    return found or UNCHANGED


def _caller(numpy: ModuleType) -> Any:
    return UNCHANGED if numpy.geterrcall() is None else numpy.geterrcall()


SETTINGS = (
    Setting(
        "numpy",
        "numpy.errstate",
        lambda numpy: changed_items(numpy.geterr(), _ERRORS),
        lambda numpy, value: numpy.seterr(**value),
    ),
    Setting("numpy", "numpy.errcall", _caller, lambda numpy, value: numpy.seterrcall(value)),
    Setting(
        "numpy",
        "numpy.printoptions",
        lambda numpy: changed_items(numpy.get_printoptions(), _PRINTED),
        lambda numpy, value: numpy.set_printoptions(**value),
    ),
    Setting("pandas", "pandas.options", _pandas_options, _set_pandas_options),
    Setting(
        "sklearn",
        "sklearn.config",
        lambda sklearn: changed_items(sklearn.get_config(), _SKLEARN),
        lambda sklearn, value: sklearn.set_config(**value),
    ),
    Setting(
        "matplotlib", "matplotlib.rcParams", _rc_params, lambda matplotlib, value: matplotlib.rcParams.update(value)
    ),
    attribute("mpmath", "mp.prec", 53),
    Setting(
        "gmpy2",
        "gmpy2.precision",
        lambda gmpy2: UNCHANGED if gmpy2.get_context().precision == 53 else gmpy2.get_context().precision,
        lambda gmpy2, value: setattr(gmpy2.get_context(), "precision", value),
    ),
)
