"""Settings of torch, JAX and Keras."""

from __future__ import annotations

from typing import Any

from nblaunch.settings.setting import UNCHANGED, Setting, attribute, changed_items

__all__ = ["SETTINGS"]

_PRINTED = {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80, "sci_mode": None}
_JAX = {
    "jax_enable_x64": False,
    "jax_default_matmul_precision": None,
    "jax_default_prng_impl": "threefry2x32",
    "jax_numpy_dtype_promotion": "standard",
    "jax_numpy_rank_promotion": "allow",
    "jax_disable_jit": False,
    "jax_debug_nans": False,
    "jax_debug_infs": False,
    "jax_enable_checks": False,
    "jax_random_seed_offset": 0,
    "jax_platforms": None,
    "jax_legacy_prng_key": "allow",
    "jax_enable_custom_prng": False,
}


def _torch(name: str, default: object, read: Any, choose: Any) -> Setting:
    def read_unless_default(torch: Any) -> Any:
        value = read(torch)
        return UNCHANGED if value == default else value

    return Setting("torch", f"torch.{name}", read_unless_default, choose)


def _jax(jax: Any) -> Any:
    values = {name: getattr(jax.config, name) for name in _JAX if hasattr(jax.config, name)}
    # an empty text means the same
    return changed_items({name: value for name, value in values.items() if value != ""}, _JAX)


def _set_jax(jax: Any, found: dict[str, Any]) -> None:
    for name, value in found.items():
        jax.config.update(name, value)


def _default_device(torch: Any) -> str:
    # not where nobody has chosen one: asking begins a mode
    chosen = getattr(torch, "_GLOBAL_DEVICE_CONTEXT", None)
    context = getattr(chosen, "device_context", None)
    return "cpu" if context is None else str(context.device)


def _printed(torch: Any) -> Any:
    options = torch._tensor_str.PRINT_OPTS
    return changed_items({name: getattr(options, name) for name in _PRINTED}, _PRINTED)


_DETERMINISTIC = (False, False)

SETTINGS = (
    Setting(
        "torch",
        "torch.default_dtype",
        lambda torch: UNCHANGED if torch.get_default_dtype() is torch.float32 else str(torch.get_default_dtype())[6:],
        lambda torch, value: torch.set_default_dtype(getattr(torch, value)),
    ),
    _torch("default_device", "cpu", _default_device, lambda torch, value: torch.set_default_device(value)),
    _torch(
        "deterministic_algorithms",
        _DETERMINISTIC,
        lambda torch: (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        lambda torch, value: torch.use_deterministic_algorithms(value[0], warn_only=value[1]),
    ),
    _torch(
        "float32_matmul_precision",
        "highest",
        lambda torch: torch.get_float32_matmul_precision(),
        lambda torch, value: torch.set_float32_matmul_precision(value),
    ),
    _torch(
        "grad_enabled",
        True,
        lambda torch: torch.is_grad_enabled(),
        lambda torch, value: torch.set_grad_enabled(value),
    ),
    _torch(
        "anomaly_enabled",
        False,
        lambda torch: torch.is_anomaly_enabled(),
        lambda torch, value: torch.autograd.set_detect_anomaly(value),
    ),
    Setting("torch", "torch.printoptions", _printed, lambda torch, value: torch.set_printoptions(**value)),
    attribute("torch", "backends.cudnn.benchmark", False),
    attribute("torch", "backends.cudnn.deterministic", False),
    attribute("torch", "backends.cudnn.enabled", True),
    attribute("torch", "backends.mkldnn.enabled", True),
    attribute("torch", "utils.deterministic.fill_uninitialized_memory", True),
    Setting("jax", "jax.config", _jax, _set_jax),
    Setting(
        "keras",
        "keras.floatx",
        lambda keras: UNCHANGED if keras.config.floatx() == "float32" else keras.config.floatx(),
        lambda keras, value: keras.config.set_floatx(value),
    ),
)
