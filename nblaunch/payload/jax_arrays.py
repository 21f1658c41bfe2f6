"""Arrays of JAX, rebuilt with the same type and values.

If 64-bit numbers are not enabled in a process, JAX's own unpickling turns an array of them into one of 32 bits, and
2**40 becomes 0. Here, an array is rebuilt with 64-bit numbers enabled, whatever the process has chosen. Its memory
becomes a buffer, and JAX builds the array on top of it if it can, so that ranks share it.

The receiver may not have the devices of an array, so it arrives on the default device.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from nblaunch.payload.bases import names_of_bases

__all__ = ["jax_reducer"]

# Bytes below which a copy in the stream costs less than a buffer of its own.
_MIN_BUFFER_BYTES = 4096


def jax_reducer(kind: type, tell: Callable[[str], object]) -> Callable[[Any], Any] | None:
    """Return the reducer for objects of a class of JAX; None for any other class.

    Parameters
    ----------
    tell : callable
        Gets notices for the user about arrays that arrive on other devices.
    """
    if "jax" not in sys.modules:
        return None
    names = {name for module, name in names_of_bases(kind) if module.partition(".")[0] in ("jax", "jaxlib")}
    if "Tracer" in names:
        return _refuse_tracer
    if "PRNGKeyArray" in names:
        return _reduce_keys
    if "ArrayImpl" in names:
        return lambda array: _reduce_array(array, tell)
    return None


def _refuse_tracer(tracer: Any) -> Any:
    raise pickle.PicklingError(
        f"a {type(tracer).__name__} stands for a value of type {tracer.aval.str_short()} inside of JAX's jit, grad or "
        "vmap, and has none itself"
    )


def _reduce_keys(keys: Any) -> Any:
    import jax

    return _keys, (jax.random.key_data(keys), jax.random.key_impl(keys))


def _keys(data: Any, implementation: Any) -> Any:
    import jax

    return jax.random.wrap_key_data(data, impl=implementation)


def _reduce_array(array: Any, tell: Callable[[str], object]) -> Any:
    import numpy

    if not (array.is_fully_addressable or array.is_fully_replicated):
        raise pickle.PicklingError(
            f"a JAX array of type {array.aval.str_short()} lies in several ranks. Return this rank's part of it, "
            "[shard.data for shard in x.addressable_shards], or all of it, "
            "jax.experimental.multihost_utils.process_allgather(x, tiled=True), which all ranks must call"
        )
    _tell_of_devices(array, tell)
    plain = numpy.ascontiguousarray(array)
    flat: Any = plain.reshape(-1).view(numpy.uint8)
    buffer = pickle.PickleBuffer(flat) if flat.nbytes >= _MIN_BUFFER_BYTES else flat.tobytes()
    # the scalar class, because dtypes of ml_dtypes, such as bfloat16, are not NumPy's own and cannot be pickled
    return _array, (plain.dtype.type, array.shape, buffer, array.weak_type)


def _tell_of_devices(array: Any, tell: Callable[[str], object]) -> None:
    import jax

    devices = array.sharding.device_set
    if len(devices) > 1:
        tell(
            f"a JAX array of type {array.aval.str_short()} lies on {len(devices)} devices here. It arrives whole, on "
            "the default device: spread it with jax.device_put(x, sharding) there"
        )
    elif array.committed:
        (device,) = devices
        if device != jax.local_devices()[0]:
            tell(
                f"a JAX array of type {array.aval.str_short()} lies on {device} here. It arrives on the default "
                "device: move it with jax.device_put(x, device) there"
            )


def _array(number: Any, shape: tuple[int, ...], buffer: Any, weak_type: bool) -> Any:
    import jax
    import numpy

    plain = numpy.ndarray(shape, numpy.dtype(number), buffer)
    with _all_types(jax):
        array = jax.device_put(plain)
    if array.dtype != plain.dtype:
        raise TypeError(f"a JAX array of type {plain.dtype} would become one of {array.dtype}")
    if weak_type:
        # JAX's own unpickling does the same
        array.aval = array.aval.update(weak_type=True)
    return array


def _all_types(jax: Any) -> AbstractContextManager[object]:
    enable: Any = getattr(jax, "enable_x64", None)
    if enable is None:
        from jax import experimental  # older versions of JAX

        enable = experimental.enable_x64
    manager: AbstractContextManager[object] = enable(True)
    return manager
