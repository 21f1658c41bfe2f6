"""Which classes belong to the process that has made their instances."""

from __future__ import annotations

import pytest

from nblaunch.payload.process_bound import reason_to_refuse


@pytest.mark.torch
def test_classes_of_torch_that_belong_to_a_process_group() -> None:
    import torch.distributed as dist
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.fsdp import FullyShardedDataParallel
    from torch.distributed.tensor import DTensor
    from torch.nn import Linear
    from torch.nn.parallel import DistributedDataParallel

    for kind in (DistributedDataParallel, FullyShardedDataParallel, DeviceMesh, DTensor, dist.ProcessGroup):
        assert "process group that the notebook has joined" in str(reason_to_refuse(kind, to_ranks=True)), kind
    for kind in (dist.TCPStore, dist.HashStore, dist.FileStore):
        assert reason_to_refuse(kind, to_ranks=True) == "it is a connection of the notebook's process"
    assert reason_to_refuse(Linear, to_ranks=True) is None
    assert reason_to_refuse(type("Trainer", (), {"__module__": "my_own_trainer"}), to_ranks=True) is None


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("accelerate.state", "PartialState"),
        ("transformers.training_args", "TrainingArguments"),
        ("lightning.pytorch.trainer.trainer", "Trainer"),
        ("torch.utils.data.distributed", "DistributedSampler"),
        ("lightning.fabric.wrappers", "_FabricModule"),
        ("lightning_fabric.wrappers", "_FabricDataLoader"),
        ("accelerate.optimizer", "AcceleratedOptimizer"),
        ("torch.distributed.optim.zero_redundancy_optimizer", "ZeroRedundancyOptimizer"),
        ("distributed.client", "Client"),
        ("distributed.client", "Future"),
        ("distributed.deploy.cluster", "Cluster"),
        ("ray._raylet", "ObjectRef"),
    ],
)
def test_classes_of_other_libraries_and_those_derived_from_them(module: str, name: str) -> None:
    kind = type(name, (), {"__module__": module})
    assert reason_to_refuse(kind, to_ranks=True) is not None
    assert reason_to_refuse(type("Mine", (kind,), {}), to_ranks=True) == reason_to_refuse(kind, to_ranks=True)
    assert reason_to_refuse(type(name, (), {"__module__": "__main__"}), to_ranks=True) is None
