"""The memory of torch tensors as buffers beside the stream.

torch itself reduces a tensor to its storage: it knows about views, Parameters, gradients, conjugates, sparse and
quantized tensors. Only the storage, which torch would copy into the stream twice, becomes a buffer. A storage is one
object for all its tensors, so they share it again.
"""

from __future__ import annotations

import ctypes
import pickle
import sys
from typing import Any

__all__ = ["is_sparse", "reduce_sparse", "reduce_storage", "storage_types", "tensor_type"]

# Bytes below which a copy of a storage costs nothing; a copy can be resized, memory in a buffer cannot.
_MIN_BUFFER_BYTES = 4096


def storage_types() -> Any:
    """Return the types that `reduce_storage` takes; none where torch is not imported."""
    storage = sys.modules.get("torch.storage")
    names = ("TypedStorage", "UntypedStorage")
    return tuple(kind for name in names if isinstance(kind := getattr(storage, name, None), type))


def tensor_type() -> Any:
    """Return `torch.Tensor`, or an empty tuple, for `issubclass`, where torch is not imported."""
    return getattr(sys.modules.get("torch"), "Tensor", ())


def is_sparse(tensor: Any) -> bool:
    """Tell whether a tensor is sparse."""
    import torch

    return tensor.layout is not torch.strided


def reduce_sparse(tensor: Any) -> Any:
    """Return torch's own way to rebuild a sparse tensor, with the check that torch makes when it loads one."""
    function, arguments, *state = tensor.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    return (_validated, (function, arguments), *state)


def _validated(function: Any, arguments: tuple[Any, ...]) -> Any:
    import torch

    tensor = function(*arguments)
    # torch keeps each rebuilt tensor in a list, and so its memory, until this check
    validate = getattr(torch._utils, "_validate_loaded_sparse_tensors", None)
    if validate is not None:
        validate()
    return tensor


def reduce_storage(storage: Any, known: dict[int, Any], to_cpu: bool) -> Any:
    """Return how to rebuild a storage from a buffer, or None for torch's own way.

    Parameters
    ----------
    storage : torch.TypedStorage or torch.UntypedStorage
        Memory of tensors.
    known : dict
        Storages in this stream so far; the caller keeps it.
    to_cpu : bool
        Whether CUDA storages are copied to the CPU; otherwise they are left to torch.
    """
    import torch

    typed = isinstance(storage, torch.storage.TypedStorage)
    untyped = storage._untyped_storage if typed else storage
    device = untyped.device.type
    ordinary = type(storage) in (torch.storage.TypedStorage, torch.UntypedStorage)
    if not ordinary or not (device == "cpu" or (to_cpu and device == "cuda")):
        return None
    # each tensor has its own TypedStorage, and tensors share the untyped storage in it
    memory = known.setdefault(untyped._cdata, _Memory(untyped))
    # torch also rebuilds an untyped storage as a typed one of bytes, and needs that for newer dtypes
    return _typed, (memory, storage.dtype if typed else torch.uint8)


class _Memory:
    """Is pickled as the untyped storage that it holds."""

    def __init__(self, untyped: Any) -> None:
        self._untyped = untyped

    def __reduce__(self) -> Any:
        here = self._untyped.cpu()
        count = here.nbytes()
        if count == 0:
            return _untyped, (b"",)
        block = (ctypes.c_ubyte * count).from_address(here.data_ptr())
        block.storage = here  # keeps the memory as long as the block is used
        return _untyped, (pickle.PickleBuffer(block) if count >= _MIN_BUFFER_BYTES else bytes(block),)


def _typed(untyped: Any, dtype: Any) -> Any:
    import torch

    return torch.storage.TypedStorage(wrap_storage=untyped, dtype=dtype, _internal=True)


def _untyped(buffer: Any) -> Any:
    import torch

    view = memoryview(buffer)
    if view.nbytes >= _MIN_BUFFER_BYTES and not view.readonly:
        return torch.frombuffer(view, dtype=torch.uint8).untyped_storage()
    storage = torch.UntypedStorage(view.nbytes)
    if view.nbytes:
        ctypes.memmove(storage.data_ptr(), bytes(view), view.nbytes)
    return storage
