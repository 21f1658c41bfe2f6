"""Settings of libraries for tables and data: pandas, Polars, xarray, attrs."""

from __future__ import annotations

import copy
from typing import Any

from nblaunch.settings.library import Library, Remembered, differing

__all__ = ["TABLES"]


_pandas = Remembered()


def _read_pandas(module: Any) -> dict[str, Any]:
    config = module._config.config  # `pandas.get_option` would take 1 ms for all options, and warn of some
    if config._global_config != _pandas.values:
        _pandas.changed = {}
        for key, option in config._registered_options.items():
            value: Any = config._global_config
            for part in key.split("."):
                value = value[part]
            # the same object is the default, however it compares
            if value is not option.defval and value != option.defval:
                _pandas.changed[key] = value
        _pandas.values = copy.deepcopy(config._global_config)
    return _pandas.changed


_POLARS = {"set_fmt_float": "mixed", "set_decimal_separator": "."}


def _read_polars(module: Any) -> dict[str, Any]:
    # Polars' configuration: environment variables, which ranks have anyway, and options that have none.
    state = module.Config.state(if_set=True, env_only=False)
    found = any(value and value != _POLARS.get(name) for name, value in state.items())
    changed = {"config": module.Config.save()} if found else {}
    # it is deprecated in versions that keep all categories in one cache anyway
    if not hasattr(module.using_string_cache, "__deprecated__") and module.using_string_cache():
        changed["string_cache"] = True
    return changed


def _apply_polars(module: Any, name: str, value: Any) -> None:
    if name == "config":
        module.Config.load(value)
    else:
        module.enable_string_cache()


_XARRAY = {
    "arithmetic_join": "inner", "cmap_divergent": "RdBu_r", "cmap_sequential": "viridis", "display_max_rows": 12,
    "display_max_children": 6, "display_max_html_elements": 300, "display_max_items": 20,
    "display_values_threshold": 200, "display_style": "html", "display_width": 80, "display_expand_attrs": "default",
    "display_expand_coords": "default", "display_expand_data_vars": "default", "display_expand_data": "default",
    "display_expand_groups": "default", "display_expand_indexes": "default", "display_default_indexes": False,
    "enable_cftimeindex": True, "file_cache_maxsize": 128, "keep_attrs": "default",
    "netcdf_engine_order": ("netcdf4", "h5netcdf", "scipy"), "warn_for_unclosed_files": False,
    "use_bottleneck": True, "use_flox": True, "use_new_combine_kwarg_defaults": False, "use_numbagg": True,
    "use_opt_einsum": True, "facetgrid_figsize": "computed", "warn_on_repeated_dims": True,
}  # fmt: skip


def _read_attrs(module: Any) -> dict[str, Any]:
    return differing({"run_validators": module.get_run_validators()}, {"run_validators": True})


TABLES = (
    Library("pandas", _read_pandas, lambda module, name, value: module.set_option(name, value)),
    Library("polars", _read_polars, _apply_polars),
    Library("attr", _read_attrs, lambda module, _, value: module.set_run_validators(value)),
    Library(
        "xarray",
        lambda module: differing(module.get_options(), _XARRAY),
        lambda module, name, value: module.set_options(**{name: value}),
    ),
)
"""Settings of the libraries for tables and data."""
