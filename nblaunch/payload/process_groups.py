"""`ForReturn`: what is sent to the notebook for objects that work only among ranks, such as DistributedDataParallel.

They need a process group, which ends with the ranks. Where it is clear what the user wants to keep, that is sent
instead, and a notice says so:

* for a wrapper of DDP, Fabric or accelerate: the model, optimizer or scheduler in it;
* for a DTensor, of which each rank has a part: this rank's part, as an ordinary tensor;
* for the result of a functional collective, which may not be complete yet: the complete result.

Other such objects are refused, with advice on what to return instead. Classes are found by their names, so that no
library is imported for it.
"""

from __future__ import annotations

import functools
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from nblaunch.payload.bases import names_of_bases

__all__ = ["ForReturn", "WorksInRanksOnly"]

_MAX_OBJECTS_LOOKED_AT = 10_000


class WorksInRanksOnly(pickle.PicklingError):
    """An object cannot be sent to the notebook because it works among ranks only; its text says what to do instead."""


class ForReturn:
    """Reducers for such objects, and the notices about those that were reduced; for one packed value."""

    def __init__(self) -> None:
        # notices, each once; and the tensors of which only a part is sent
        self._told: dict[str, None] = {}
        self._shards: list[Any] = []

    def reducer(self, kind: type) -> Callable[[Any], Any] | None:
        """Return the reducer for objects of a class; None if they do not need a process group.

        The reducer returns None for an object that works in the notebook as it is.
        """
        if "torch" not in sys.modules:
            return None  # all these libraries need torch
        for place, name in names_of_bases(kind):
            module = f"{place}."
            if module.startswith(_LIBRARIES) and not _is_distributed():
                continue  # these also work in one process
            if name in _WRAPPERS and module.startswith(_WRAPPERS[name][0]):
                return functools.partial(self._unwrap, name=name)
            if name in _REFUSED and module.startswith(_REFUSED[name][0]):
                return functools.partial(_refuse, name=name)
            if name in _OTHERS and module.startswith("torch."):
                return functools.partial(_OTHERS[name], self)
        return None

    def notices(self, objects: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the notices about objects that were replaced.

        Parameters
        ----------
        objects : mapping of str to object
            All that was packed, by name, to find the name of a tensor.
        """
        told = list(self._told)
        if self._shards:
            first = self._shards[0]
            name = _name_of(first, objects)
            more = len(self._shards) - 1
            partial = any(placement.is_partial() for tensor in self._shards for placement in tensor.placements)
            told.append(
                f"{name}, a DTensor of shape {tuple(first.shape)}, is sent back as this rank's part of it, an ordinary "
                f"tensor of shape {tuple(first._local_tensor.shape)}"
                + (f"; so {'is' if more == 1 else 'are'} {more} more" if more else "")
                + (", and some are sums that were still to be added up among the ranks" if partial else "")
                + ". For the whole, return .full_tensor(), which all ranks must call"
            )
        return tuple(told)

    def _unwrap(self, wrapper: Any, name: str) -> Any:
        _, attribute, what = _WRAPPERS[name]
        inner = getattr(wrapper, attribute)
        shown = _a(type(wrapper).__name__.lstrip("_"))
        told = f"{shown} is sent back as the {what} in it (.{attribute}): the process group that the rest needs is the"
        self._told[f"{told} ranks' own"] = None
        return _same, (inner,)

    def _take_part(self, tensor: Any) -> Any:
        import torch

        with torch.no_grad():
            part = tensor.to_local().detach()
        if part.shape != tensor.shape or any(placement.is_partial() for placement in tensor.placements):
            self._shards.append(tensor)
        if isinstance(tensor, torch.nn.Parameter):
            part = torch.nn.Parameter(part, tensor.requires_grad)
        elif tensor.requires_grad:
            part.requires_grad_()
        return _same, (part,)

    def _wait_for(self, tensor: Any) -> Any:
        return _same, (tensor.wait(),)

    def _leave_group(self, layer: Any) -> Any:
        if layer.process_group is None:
            return None
        told = (
            f"{_a(type(layer).__name__)} is sent back without its process group, which is the ranks' own: in training"
        )
        self._told[f"{told} it would take the default one"] = None
        function, arguments, state, *rest = layer.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        return (function, arguments, {**state, "process_group": None}, *rest)


# The beginnings of a class's module, the attribute with the wrapped object, and what to call that object.
_WRAPPERS = {
    "DistributedDataParallel": (("torch.nn.parallel.",), "module", "model"),
    "_FabricModule": (("lightning.", "lightning_fabric."), "module", "model"),
    "_FabricOptimizer": (("lightning.", "lightning_fabric."), "optimizer", "optimizer"),
    "AcceleratedOptimizer": (("accelerate.",), "optimizer", "optimizer"),
    "AcceleratedScheduler": (("accelerate.",), "scheduler", "scheduler"),
}

_OTHERS: dict[str, Callable[[ForReturn, Any], Any]] = {
    "DTensor": ForReturn._take_part,
    "AsyncCollectiveTensor": ForReturn._wait_for,
    "SyncBatchNorm": ForReturn._leave_group,
}

_FULL_WEIGHTS = (
    "Return its weights, as in get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, "
    "cpu_offload=True)), both of torch.distributed.checkpoint.state_dict, which all ranks must call"
)
_TORCH = ("torch.distributed.", "torch._C._distributed_c10d.")
_LIGHTNING = ("lightning.", "lightning_fabric.", "pytorch_lightning.")
_LIBRARIES = (*_LIGHTNING, "accelerate.", "transformers.")

# The beginnings of a class's module, and what to return instead.
_REFUSED = {
    "FullyShardedDataParallel": (_TORCH, _FULL_WEIGHTS),
    "FSDPModule": (_TORCH, _FULL_WEIGHTS),
    "ShardedTensor": (_TORCH, "Return this rank's part of it, [shard.tensor for shard in x.local_shards()]"),
    "ZeroRedundancyOptimizer": (
        _TORCH,
        (
            "It has this rank's part of the state: have all ranks call x.consolidate_state_dict(to=0), then return "
            "x.state_dict() from rank 0"
        ),
    ),
    "DeviceMesh": (_TORCH, "Return what you need of it, as in mesh.shape; of a model on it, model.state_dict()"),
    "ProcessGroup": (_TORCH, "Return what you need of it, as in torch.distributed.get_process_group_ranks(group)"),
    "Store": (_TORCH, "Return what is in it, as in store.get(key)"),
    "Work": (_TORCH, "Wait for it in the cell, work.wait(), and return the tensors that it has filled"),
    "Future": (("torch.",), "Wait for it in the cell, and return what that gives: future.wait()"),
    "Fabric": (_LIGHTNING, "Return the model, or model.state_dict()"),
    "Strategy": (_LIGHTNING, "Return the model, or model.state_dict()"),
    "Accelerator": (("accelerate.",), "Return the model, as in accelerator.unwrap_model(model), or its state_dict()"),
    "PartialState": (("accelerate.",), "Return what you need of it, as in state.process_index"),
    "AcceleratorState": (("accelerate.",), "Return what you need of it, as in state.process_index"),
    "TrainingArguments": (("transformers.",), "Return arguments.to_dict()"),
    "Trainer": (
        (*_LIGHTNING, "transformers."),
        (
            "Return the model, or model.state_dict(), and what was measured: trainer.callback_metrics in Lightning, "
            "trainer.state.log_history in transformers"
        ),
    ),
}


def _refuse(obj: Any, name: str) -> Any:
    kind = type(obj).__name__
    what = _a(kind) if kind == name else f"{_a(kind)} (a kind of {name})"
    raise WorksInRanksOnly(f"{what} works only among ranks, and they have ended by then. {_REFUSED[name][1]}")


def _a(name: str) -> str:
    return f"an {name}" if name.startswith(("A", "E", "I", "O", "U", "FSDP")) else f"a {name}"


def _is_distributed() -> bool:
    distributed: Any = sys.modules.get("torch.distributed")
    return distributed is not None and distributed.is_available() and bool(distributed.is_initialized())


def _same(obj: Any) -> Any:
    """Return the object itself; a pickle calls this for an object that replaces another."""
    return obj


def _name_of(tensor: object, objects: Mapping[str, Any]) -> str:
    """Return the name of a tensor: the variable, or the last key or attribute on the shortest way to it."""
    level = [(name, thing) for name, thing in objects.items()]
    seen: set[int] = set()
    # breadth first
    while level and len(seen) < _MAX_OBJECTS_LOOKED_AT:
        below: list[tuple[str, Any]] = []
        for name, thing in level:
            if thing is tensor:
                return name
            if id(thing) not in seen:
                seen.add(id(thing))
                below += _parts_of(thing)
        level = below
    return "what this rank sends back"


def _parts_of(thing: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(thing, Mapping):
        yield from ((repr(key), value) for key, value in list(thing.items()))
    elif isinstance(thing, (list, tuple)):
        yield from ((f"number {number}", value) for number, value in enumerate(thing))
    elif type(thing).__module__ != "builtins":
        yield from vars(thing).items() if hasattr(thing, "__dict__") else ()
