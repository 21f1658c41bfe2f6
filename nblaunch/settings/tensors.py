"""Settings of the libraries that compute with tensors: torch, JAX, Keras."""

from __future__ import annotations

import contextlib
from typing import Any

from nblaunch.settings.library import Library, attribute, differing, set_attribute

__all__ = ["TENSORS"]

_TORCH = {
    "backends.cudnn.benchmark": False, "backends.cudnn.deterministic": False, "backends.cudnn.enabled": True,
    "backends.cudnn.allow_tf32": True, "backends.mkldnn.enabled": True, "backends.mkldnn.deterministic": False,
    "backends.cuda.matmul.allow_fp16_reduced_precision_reduction": True,
    "backends.cuda.matmul.allow_bf16_reduced_precision_reduction": True,
    "backends.cuda.matmul.allow_fp16_accumulation": False,
    "utils.deterministic.fill_uninitialized_memory": True,
}  # fmt: skip
# The newer settings for the precision of products. After one of them was made, torch refuses to read the older ones.
_TORCH_PRECISION = {
    "cuda.matmul": "none", "cudnn.conv": "tf32", "cudnn.rnn": "tf32", "mkldnn.matmul": "none", "mkldnn.conv": "none",
    "mkldnn.rnn": "none",
}  # fmt: skip
# Whether an attention algorithm may be used: the function that sets this, and the one that reads it.
_TORCH_ATTENTION = {
    "enable_flash_sdp": "flash_sdp_enabled", "enable_mem_efficient_sdp": "mem_efficient_sdp_enabled",
    "enable_math_sdp": "math_sdp_enabled", "enable_cudnn_sdp": "cudnn_sdp_enabled",
}  # fmt: skip
# How tensors are printed, by the names that `torch.set_printoptions` takes.
_TORCH_PRINTING = {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80, "sci_mode": None}


def _read_torch(module: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path, default in _TORCH.items():
        with contextlib.suppress(RuntimeError):  # see _TORCH_PRECISION
            found[path] = attribute(module, path, default)
    found = differing(found, _TORCH)
    if module.get_default_dtype() is not module.float32:
        found["default_dtype"] = str(module.get_default_dtype()).rpartition(".")[2]
    device = attribute(module, "_GLOBAL_DEVICE_CONTEXT.device_context")  # what torch.get_default_device() looks at
    if device is not None:
        # without its number: each rank chooses one of several devices itself, with torch.cuda.set_device
        found["default_device"] = device.device.type
    if module.are_deterministic_algorithms_enabled():
        found["deterministic_algorithms"] = module.is_deterministic_algorithms_warn_only_enabled()
    try:
        if module.get_float32_matmul_precision() != "highest":
            found["float32_matmul_precision"] = module.get_float32_matmul_precision()
        # this refuses too, also where only the newer setting for convolutions was made
        attribute(module, "backends.cudnn.allow_tf32")
    except RuntimeError:
        now = {path: attribute(module, f"backends.{path}.fp32_precision", "none") for path in _TORCH_PRECISION}
        found["fp32_precision"] = differing(now, _TORCH_PRECISION)
    for choose, tell in _TORCH_ATTENTION.items():
        enabled = attribute(module, f"backends.cuda.{tell}")
        if enabled is not None and not enabled():
            found[choose] = False
    if module.is_anomaly_enabled():
        found["anomaly_detection"] = module.is_anomaly_check_nan_enabled()
    if not module.is_grad_enabled():
        found["grad_enabled"] = False
    found |= _read_autocast(module)
    printing = differing(vars(module._tensor_str.PRINT_OPTS), _TORCH_PRINTING)
    if printing:
        found["printoptions"] = printing
    return found


# The default dtype of `torch.autocast` on each device.
_AUTOCAST = {"cpu": "bfloat16", "cuda": "float16"}


def _read_autocast(module: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    # older versions have one function for each device
    if hasattr(module, "get_autocast_dtype"):
        for device, default in _AUTOCAST.items():
            if module.is_autocast_enabled(device):
                found[f"autocast.{device}"] = True
            dtype = str(module.get_autocast_dtype(device)).rpartition(".")[2]
            if dtype != default:
                found[f"autocast_dtype.{device}"] = dtype
    if not module.is_autocast_cache_enabled():
        found["autocast_cache"] = False
    return found


def _apply_torch(module: Any, name: str, value: Any) -> None:
    if name == "default_dtype":
        module.set_default_dtype(getattr(module, value))
    elif name == "default_device":
        module.set_default_device(value)
    elif name == "deterministic_algorithms":
        module.use_deterministic_algorithms(True, warn_only=value)
    elif name == "float32_matmul_precision":
        module.set_float32_matmul_precision(value)
    elif name == "fp32_precision":
        for path, precision in value.items():
            set_attribute(module, f"backends.{path}.fp32_precision", precision)
    elif name in _TORCH_ATTENTION:
        getattr(module.backends.cuda, name)(value)
    elif name == "anomaly_detection":
        module.autograd.set_detect_anomaly(True, check_nan=value)
    elif name.startswith("autocast."):
        module.set_autocast_enabled(name.partition(".")[2], value)
    elif name.startswith("autocast_dtype."):
        module.set_autocast_dtype(name.partition(".")[2], getattr(module, value))
    elif name == "autocast_cache":
        module.set_autocast_cache_enabled(value)
    elif name == "grad_enabled":
        module.set_grad_enabled(value)
    elif name == "printoptions":
        module.set_printoptions(**value)
    else:
        set_attribute(module, name, value)


def _read_distributions(module: Any) -> dict[str, Any]:
    validates = attribute(module, "Distribution._validate_args", __debug__)
    return differing({"default_validate_args": validates}, {"default_validate_args": __debug__})


def _read_hooks(module: Any) -> dict[str, Any]:
    """Return a notice about hooks for all modules: they stay, because they mostly use objects of the notebook."""
    names = sorted(name for name, hooks in vars(module).items() if name in _GLOBAL_HOOKS and hooks)
    if not names:
        return {}
    kinds = " and ".join(name.removeprefix("_global_").replace("_", " ") for name in names)
    told = f"The {kinds} for all modules of torch stay in the notebook: register them in a set-up cell"
    return {"stays": (f"{told} (%%multiproc --setup)",)}


_GLOBAL_HOOKS = {
    "_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks", "_global_backward_pre_hooks",
    "_global_buffer_registration_hooks", "_global_module_registration_hooks", "_global_parameter_registration_hooks",
}  # fmt: skip


# JAX does not tell its defaults. Options that a version lacks are left out. A default that is wrong for a version does
# no harm: the rank then gets the value that it has anyway.
_JAX = {
    "jax_enable_x64": False, "jax_default_matmul_precision": None, "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True, "jax_enable_custom_prng": False, "jax_random_seed_offset": 0,
    "jax_default_dtype_bits": "64", "jax_numpy_dtype_promotion": "standard", "jax_numpy_rank_promotion": "allow",
    "jax_legacy_prng_key": "allow", "jax_explicit_x64_dtypes": "warn", "jax_softmax_custom_jvp": False,
    "jax_allow_f16_reductions": True, "jax_high_dynamic_range_gumbel": False, "eager_constant_folding": False,
    "jax_disable_jit": False, "jax_debug_nans": False, "jax_debug_infs": False, "jax_debug_key_reuse": False,
    "jax_enable_checks": False, "jax_check_tracer_leaks": False, "jax_error_checking_behavior_nan": "ignore",
    "jax_error_checking_behavior_divide": "ignore", "jax_error_checking_behavior_oob": "ignore",
    "jax_log_compiles": False, "jax_explain_cache_misses": False, "jax_logging_level": "NOTSET",
    "jax_traceback_filtering": "auto", "jax_disable_most_optimizations": False, "jax_platforms": None,
    "jax_platform_name": "", "jax_num_cpu_devices": -1, "jax_compilation_cache_dir": None,
    "jax_enable_compilation_cache": True, "jax_persistent_cache_min_compile_time_secs": 1.0,
    "jax_persistent_cache_min_entry_size_bytes": 0, "jax_transfer_guard": None, "jax_use_shardy_partitioner": True,
    "jax_default_device": None,
}  # fmt: skip


def _read_jax(module: Any) -> dict[str, Any]:
    found = {}
    for name, default in _JAX.items():
        value = getattr(module.config, name, default)
        if hasattr(value, "_member_map_") or name == "jax_explicit_x64_dtypes":
            # the value is a member of an enumeration, and is set by its name
            value = str(getattr(value, "name", default)).lower()
        if value == default:
            continue
        # a device object belongs to this process, so its platform is sent
        found[name] = getattr(value, "platform", value) if name == "jax_default_device" else value
    return found


_KERAS = {"floatx": "float32", "epsilon": 1e-7, "image_data_format": "channels_last"}


def _read_keras(module: Any) -> dict[str, Any]:
    found = differing({name: getattr(module.config, name)() for name in _KERAS}, _KERAS)
    policy = module.config.dtype_policy().name
    if policy != module.config.floatx():
        found["dtype_policy"] = policy
    return found


TENSORS = (
    Library("torch", _read_torch, _apply_torch),
    Library(
        "torch.distributions.distribution",
        _read_distributions,
        lambda module, _, value: module.Distribution.set_default_validate_args(value),
    ),
    Library("torch.nn.modules.module", _read_hooks, lambda *_: None),
    Library("jax", _read_jax, lambda module, name, value: module.config.update(name, value)),
    Library("keras", _read_keras, lambda module, name, value: getattr(module.config, f"set_{name}")(value)),
)
"""Settings of the libraries for tensors."""
