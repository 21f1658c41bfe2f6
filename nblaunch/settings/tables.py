"""Settings of the libraries that hold and show tables and figures: pandas, Polars, matplotlib and others."""

from __future__ import annotations

import copy
from typing import Any

from nblaunch.settings.library import Library, differing, set_attribute

__all__ = ["TABLES"]


class _Remembered:
    """What was read last and what came of it: comparing hundreds of values takes far less time than reading them."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.changed: dict[str, Any] = {}


_pandas, _matplotlib = _Remembered(), _Remembered()


def _read_pandas(module: Any) -> dict[str, Any]:
    config = module._config.config  # `pandas.get_option` takes a millisecond for all of them, and warns of some
    if config._global_config != _pandas.values:
        _pandas.changed = {}
        for key, option in config._registered_options.items():
            value: Any = config._global_config
            for part in key.split("."):
                value = value[part]
            # an option without a default of its own shows itself as callable values do
            if value is not option.defval and value != option.defval:
                _pandas.changed[key] = value
        _pandas.values = copy.deepcopy(config._global_config)
    return _pandas.changed


def _read_polars(module: Any) -> dict[str, Any]:
    # variables of the environment, which ranks have anyway, and what has none
    found = {name: value for name, value in module.Config.state(if_set=True, env_only=False).items() if value}
    changed = {"config": module.Config.save()} if found else {}
    if module.using_string_cache():
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

# The first of lists that `rcParamsDefault` shares with `rcParams`: one that was changed in place differs from nothing.
_FIRST = {
    "font.family": "sans-serif", "font.serif": "DejaVu Serif", "font.sans-serif": "DejaVu Sans",
    "font.monospace": "DejaVu Sans Mono", "font.cursive": "Apple Chancery", "font.fantasy": "Chicago",
}  # fmt: skip

# How a figure is shown is arranged for each process by its shell.
_BACKENDS = ("backend", "backend_fallback", "interactive", "toolbar")


def _read_matplotlib(module: Any) -> dict[str, Any]:
    values: Any = module.rcParams
    # of the dictionary behind it: `rcParams["backend"]` would choose one
    if not dict.__eq__(values, _matplotlib.values):
        default, original = module.rcParamsDefault, module.rcParamsOrig
        _matplotlib.changed = {
            name: value
            for name, value in dict.items(values)
            if name not in _BACKENDS
            # what its file says, a rank reads too
            and (
                value != dict.get(default, name)
                or value != dict.get(original, name)
                or (name in _FIRST and value[:1] != [_FIRST[name]])
            )
        }
        # lists are changed in place, as in rcParams["font.sans-serif"].insert(0, "Arial")
        _matplotlib.values = {
            name: list(value) if isinstance(value, list) else value for name, value in dict.items(values)
        }
        _matplotlib.changed = copy.deepcopy(_matplotlib.changed)
    return _matplotlib.changed


_PILLOW = {"Image.MAX_IMAGE_PIXELS": 89478485, "ImageFile.LOAD_TRUNCATED_IMAGES": False, "ImageFile.MAXBLOCK": 65536}


def _read_pillow(name: str) -> Any:
    defaults = {path.rpartition(".")[2]: value for path, value in _PILLOW.items() if path.startswith(f"{name}.")}
    return lambda module: differing(vars(module), defaults)


def _read_plotly(module: Any) -> dict[str, Any]:
    return differing({"templates.default": module.templates.default}, {"templates.default": "plotly"})


TABLES = (
    Library("pandas", _read_pandas, lambda module, name, value: module.set_option(name, value)),
    Library("polars", _read_polars, _apply_polars),
    Library(
        "xarray",
        lambda module: differing(module.get_options(), _XARRAY),
        lambda module, name, value: module.set_options(**{name: value}),
    ),
    Library("matplotlib", _read_matplotlib, lambda module, name, value: module.rcParams.update({name: value})),
    Library("PIL.Image", _read_pillow("Image"), set_attribute),
    Library("PIL.ImageFile", _read_pillow("ImageFile"), set_attribute),
    Library("plotly.io", _read_plotly, set_attribute),
)
"""What the libraries have that hold and show tables, figures and pictures."""
