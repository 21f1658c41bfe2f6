"""Objects that belong to the process that made them, and are refused because a copy in a rank would be wrong.

For example, an `accelerate.Accelerator` or `transformers.TrainingArguments` that was made in the notebook holds that
there is one process. With it, each rank would train on all data by itself, and write to the same folder. Handles of
clusters, and of process groups that the notebook has joined, are refused too.
"""

from __future__ import annotations

import pickle

from nblaunch.payload.bases import names_of_bases

__all__ = ["BoundToProcess", "reason_to_refuse"]

_ALONE = "it holds that there is one process, the notebook's, and each rank would work as if it were alone"
_GROUP = "it belongs to a process group that the notebook has joined, and the ranks have not"
_HANDLE = "it is a connection of the notebook's process"
# Objects that hold numbers of descriptors; pickling them succeeds, because these are plain numbers.
_DESCRIPTORS = {
    "multiprocessing._ConnectionBase": (
        "it is an end of a pipe, known by the number of a descriptor, which is something else in another process"
    ),
    "selectors.SelectSelector": (
        "it watches descriptors by their numbers, which are something else in another process"
    ),
}

# By package and class name, without the module, because libraries move classes from one module to another.
_REFUSED = {
    "accelerate.Accelerator": _ALONE,
    "accelerate.PartialState": _ALONE,
    "accelerate.AcceleratorState": _ALONE,
    "accelerate.GradientState": _ALONE,
    "accelerate.AcceleratedOptimizer": _ALONE,
    "accelerate.AcceleratedScheduler": _ALONE,
    "accelerate.DataLoaderShard": _ALONE,
    "accelerate.DataLoaderDispatcher": _ALONE,
    "transformers.TrainingArguments": _ALONE,
    "transformers.Trainer": _ALONE,
    "lightning.Trainer": _ALONE,
    "lightning.Fabric": _ALONE,
    "lightning._FabricModule": _ALONE,
    "lightning._FabricOptimizer": _ALONE,
    "lightning._FabricDataLoader": _ALONE,
    "pytorch_lightning.Trainer": _ALONE,
    "lightning_fabric.Fabric": _ALONE,
    "lightning_fabric._FabricModule": _ALONE,
    "lightning_fabric._FabricOptimizer": _ALONE,
    "lightning_fabric._FabricDataLoader": _ALONE,
    "deepspeed.DeepSpeedEngine": _ALONE,
    "torch.DistributedSampler": "it has the rank and the number of ranks that it was made with, not those of the ranks",
    "torch.ZeroRedundancyOptimizer": _GROUP,
    "torch.FSDPModule": _GROUP,
    "torch.DistributedDataParallel": _GROUP,
    "torch.FullyShardedDataParallel": _GROUP,
    "torch.DeviceMesh": _GROUP,
    "torch.DTensor": _GROUP,
    "torch.ProcessGroup": _GROUP,
    "torch.Work": _GROUP,
    "torch.Store": _HANDLE,
    "distributed.Client": _HANDLE,
    "distributed.Cluster": _HANDLE,
    "distributed.Future": _HANDLE,
    "ipyparallel.Client": _HANDLE,
    "pyspark.SparkContext": _HANDLE,
    "pyspark.SparkSession": _HANDLE,
    "ray.ActorHandle": _HANDLE,
    "ray.ObjectRef": _HANDLE,
}


class BoundToProcess(pickle.PicklingError):
    """An object cannot be sent, because it belongs to the process that made it.

    Attributes
    ----------
    advice : str
        Key in `nblaunch.capture.advice.ADVICE`.
    guilty : object
        The object.
    """

    advice = "alone"

    def __init__(self, reason: str, guilty: object) -> None:
        super().__init__(reason)
        self.guilty = guilty


def reason_to_refuse(kind: type, to_ranks: bool) -> str | None:
    """Say why instances of a class must not be sent to another process; None if they may be.

    Parameters
    ----------
    kind : type
        The class.
    to_ranks : bool
        Whether they are sent to the ranks of a cell. Otherwise they are results or arguments of functions.
    """
    refused = {**_DESCRIPTORS, **_REFUSED} if to_ranks else _DESCRIPTORS
    names = (f"{module.partition('.')[0]}.{name}" for module, name in names_of_bases(kind))
    return next((refused[name] for name in names if name in refused), None)
