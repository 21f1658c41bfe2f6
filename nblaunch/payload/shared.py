"""Objects that processes share: proxies of managers work in ranks too; tensors and arrays in shared memory are copied.

A proxy stands for an object in the process of its manager. A tensor or array becomes a copy, as all that is sent to a
cell, and a notice says so.
"""

from __future__ import annotations

import sys
from typing import Any

from nblaunch.payload.memory_maps import is_memmap

__all__ = [
    "is_in_shared_memory",
    "is_proxy",
    "lies_on_shared_memory",
    "notice_of_copied_array",
    "notice_of_copy",
    "reduce_proxy",
]


def is_proxy(kind: type) -> bool:
    """Tell whether instances of a class stand for an object of a `multiprocessing` manager."""
    base = getattr(sys.modules.get("multiprocessing.managers"), "BaseProxy", None)
    return base is not None and issubclass(kind, base)


def reduce_proxy(proxy: Any) -> Any:
    """Return how to rebuild a proxy in a rank, with the authentication keys of its manager and of this process."""
    from multiprocessing import process

    function, (make, token, serializer, keywords) = proxy.__reduce__()
    keywords = {"authkey": bytes(proxy._authkey), **keywords}
    return _proxy, (bytes(process.current_process().authkey), function, (make, token, serializer, keywords))


def _proxy(authkey: bytes, function: Any, arguments: tuple[Any, ...]) -> Any:
    from multiprocessing import process

    # for proxies that this one returns, such as that of a list in a dictionary
    process.current_process().authkey = authkey
    return function(*arguments)


def is_in_shared_memory(storage: Any) -> bool:
    """Tell whether a storage of torch is in memory that is shared with other processes."""
    untyped = getattr(storage, "_untyped_storage", storage)
    return untyped.device.type == "cpu" and bool(untyped.is_shared())


def lies_on_shared_memory(array: Any) -> bool:
    """Tell whether what is written to a NumPy array is seen by other processes.

    Such an array is a view of a `SharedMemory`, an array of `multiprocessing` or another memory map. `numpy.memmap` is
    excluded, because the receiver maps its file again.
    """
    if not array.flags.writeable:
        return False
    owner = array.base
    while owner is not None:
        kind = type(owner)
        if is_memmap(kind):
            return False
        if kind is getattr(sys.modules.get("mmap"), "mmap", None):
            return True
        if type(getattr(owner, "_wrapper", None)).__module__ == "multiprocessing.heap":
            return True
        # an owner of any other class may have a `base` that means something else
        owner = owner.obj if kind is memoryview else owner.base if _is_of_numpy(kind) else None
    return False


def _is_of_numpy(kind: type) -> bool:
    numpy = sys.modules["numpy"]
    # `as_strided` puts a DummyArray between a view and its array
    return issubclass(kind, (numpy.ndarray, numpy.void)) or kind.__name__ == "DummyArray"


def notice_of_copied_array(name: str, whole: bool) -> str:
    """Return the notice about an array that is no longer shared; see `notice_of_copy`."""
    return (
        f"'{name}' {'is' if whole else 'holds'} an array in shared memory, and every rank gets a copy of it: what a "
        "rank writes into it is seen neither here nor by the other ranks. Return what the ranks have computed, or name "
        "the SharedMemory itself in the cell, which stays shared, and make an array of its buf there."
    )


def notice_of_copy(name: str, whole: bool) -> str:
    """Return the notice about a tensor that is no longer shared.

    Parameters
    ----------
    name : str
        The variable that is sent.
    whole : bool
        Whether it is the tensor itself, rather than something that holds it.
    """
    return (
        f"'{name}' {'is' if whole else 'holds'} a tensor in shared memory, and every rank gets a copy of it: what a "
        "rank writes into it is seen neither here nor by the other ranks. Return what the ranks have computed, or use "
        "nblaunch.processes.start_processes, where it stays shared."
    )
