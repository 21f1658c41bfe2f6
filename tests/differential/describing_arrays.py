"""What can be told of arrays, tensors, tables and the like; none of their libraries is imported for it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

__all__ = ["about_array"]


def about_array(value: Any) -> tuple[str, list[tuple[str, Any]]] | None:
    """Return what is told of the object and the objects inside; None if it is of none of these libraries."""
    kind = type(value)
    for module, names in _ABOUT.items():
        library: Any = sys.modules.get(module)
        if library is None:
            continue
        for name, about in names.items():
            base = getattr(library, name, None)
            if isinstance(base, type) and issubclass(kind, base):
                head, inside = about(value)
                return f"{name} {head}", [("class", kind), *inside]
    return None


def _array(array: Any) -> tuple[str, list[tuple[str, Any]]]:
    import numpy as np

    # one with gaps arrives as a copy without
    flags = "in Fortran's order" if array.flags.f_contiguous and not array.flags.c_contiguous else ""
    flags += "" if array.flags.writeable else ", read only"
    plain = array.view(np.ndarray)
    inside: list[tuple[str, Any]] = []
    if isinstance(array, np.ma.MaskedArray):
        inside += [("mask", np.ma.getmaskarray(array).tolist()), ("fill", array.fill_value), ("hard", array.hardmask)]
        plain = array.data
    elif isinstance(array, np.memmap):
        inside += [("file", str(array.filename)), ("mode", array.mode), ("offset", array.offset)]
    else:
        inside += sorted(getattr(array, "__dict__", {}).items())
    elements = plain.tolist()
    # text where no Python object is meant: comparing long lists line by line says no more
    return f"{array.shape} {_dtype_in_words(array.dtype)} {flags}", [
        *inside,
        ("elements", elements if array.dtype.hasobject else repr(elements)),
    ]


def _dtype_in_words(dtype: Any) -> str:
    """Return all that a dtype is; which of equal ones are one object, nobody asks."""
    return f"{dtype!r} {dtype.str} {dtype.itemsize} {dtype.isalignedstruct} {dict(dtype.metadata or {})}"


def _scalar(scalar: Any) -> tuple[str, list[tuple[str, Any]]]:
    return f"{scalar!r} {_dtype_in_words(scalar.dtype)}", []


def _dtype(dtype: Any) -> tuple[str, list[tuple[str, Any]]]:
    return _dtype_in_words(dtype), []


def _in_words(value: Any) -> tuple[str, list[tuple[str, Any]]]:
    # what else such an object holds is computed when it is asked for, and kept
    return repr(value), []


def _bit_generator(generator: Any) -> tuple[str, list[tuple[str, Any]]]:
    return repr(generator.state), []


def _generator(generator: Any) -> tuple[str, list[tuple[str, Any]]]:
    return "", [("bits", generator.bit_generator)]


def _random_state(generator: Any) -> tuple[str, list[tuple[str, Any]]]:
    return repr(generator.get_state()), []


def _tensor(tensor: Any) -> tuple[str, list[tuple[str, Any]]]:
    import torch

    own = tensor.detach()
    head = f"{tensor.dtype} {tuple(tensor.shape)} {tensor.layout} {tensor.device} leaf {tensor.is_leaf}"
    head += f" requires_grad {tensor.requires_grad} function {type(tensor.grad_fn).__name__}"
    inside: list[tuple[str, Any]] = [("attributes", dict(sorted(vars(tensor).items())))]
    if tensor.is_leaf:
        inside.append(("grad", tensor.grad))
    if tensor.layout == torch.strided and not tensor.is_quantized:
        head += f" stride {tensor.stride()} offset {tensor.storage_offset()}"
        own = own.to(torch.float64) if tensor.dtype.is_floating_point else own
        inside.append(("elements", repr(own.tolist())))
    else:
        inside.append(("elements", repr(own)))
    return head, inside


def _torch_generator(generator: Any) -> tuple[str, list[tuple[str, Any]]]:
    return f"{generator.device} {generator.get_state().tolist()}", []


def _frame(frame: Any) -> tuple[str, list[tuple[str, Any]]]:
    columns = [(f"column {i}", frame.iloc[:, i]) for i in range(frame.shape[1])]
    about = [("columns", frame.columns), ("index", frame.index), ("attrs", dict(frame.attrs))]
    return f"{frame.shape} {frame.flags.allows_duplicate_labels}", [*about, *columns]


def _series(series: Any) -> tuple[str, list[tuple[str, Any]]]:
    inside = [("name", series.name), ("attrs", dict(series.attrs)), ("index", series.index)]
    return f"{series.dtype!r} {type(series.array).__name__}", [*inside, ("elements", series.tolist())]


def _index(index: Any) -> tuple[str, list[tuple[str, Any]]]:
    names = list(index.names)
    return f"{index.dtype!r} {getattr(index, 'freq', None)!r}", [("names", names), ("elements", index.tolist())]


def _extension_array(array: Any) -> tuple[str, list[tuple[str, Any]]]:
    return f"{array.dtype!r} {array!r}", []


_ABOUT: dict[str, dict[str, Callable[[Any], Any]]] = {
    "numpy": {"ndarray": _array, "dtype": _dtype, "generic": _scalar},
    "numpy.random": {"Generator": _generator, "BitGenerator": _bit_generator, "RandomState": _random_state},
    "torch": {"Tensor": _tensor, "Generator": _torch_generator},
    "pandas": {
        "DataFrame": _frame,
        "Series": _series,
        "Index": _index,
        **dict.fromkeys(("Timestamp", "Timedelta", "Period", "Interval"), _in_words),
    },
    "sympy": {"Basic": _in_words},
    "pandas.api.extensions": {"ExtensionDtype": _in_words, "ExtensionArray": _extension_array},
}
