"""Values that hold a process group, on their way back from ranks that have one."""

from __future__ import annotations

from typing import Any

import pytest

from nblaunch.launching.session import launch
from nblaunch.launching.source import Notebook
from nblaunch.payload.process_groups import ForReturn
from nblaunch.runs.run import Run

pytestmark = pytest.mark.torch
torch: Any = pytest.importorskip("torch")

GROUP = "import torch, torch.distributed as dist\ndist.init_process_group('gloo')\n"


def run_cell(source: str, **options: Any) -> Run:
    return launch(GROUP + source, 2, notebook=Notebook({"__name__": "__main__"}), panel="none", **options)


MODELS = """
from torch.nn.parallel import DistributedDataParallel
torch.manual_seed(0)
class Mine(DistributedDataParallel): pass
class Holder:
    def __init__(self, model): self.model = model
model = DistributedDataParallel(torch.nn.Linear(2, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
model(torch.full((4, 2), float(rank))).square().sum().backward()
optimizer.step()
kept = Holder([model])
layer = torch.nn.SyncBatchNorm(3, process_group=dist.group.WORLD)
layer.running_mean += 2
weight = model.module.weight.tolist()
{"model": model, "optimizer": optimizer, "mine": Mine(torch.nn.Linear(1, 1)), "layer": layer, "weight": weight}
"""


def test_a_wrapped_model_comes_back_as_the_model() -> None:
    run = run_cell(MODELS, collect=["kept"])
    assert run.ok, run.failures
    value = run.results[0]
    model = value["model"]
    assert type(model) is torch.nn.Linear
    assert model.weight.tolist() == value["weight"] == run.results[1]["weight"]
    # what they share stays shared
    assert value["optimizer"].param_groups[0]["params"][0] is model.weight
    assert run.collected["kept"][1].model == [run.results[1]["model"]]
    assert type(value["mine"]) is torch.nn.Linear
    assert (value["layer"].process_group, value["layer"].running_mean.tolist()) == (None, [2, 2, 2])
    needs = "the process group that the rest needs is the ranks' own"
    batch_norm = "a SyncBatchNorm is sent back without its process group, which is the ranks' own: in training it would"
    assert [line for line in run.logs[0].stderr.splitlines() if "is sent back" in line] == [
        f"a DistributedDataParallel is sent back as the model in it (.module): {needs}",
        f"a Mine is sent back as the model in it (.module): {needs}",
        f"{batch_norm} take the default one",
    ]


def test_a_wrapped_model_comes_back_when_its_group_is_gone() -> None:
    made = "model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 1))"
    run = run_cell(f"{made}\ndist.destroy_process_group()\nmodel")
    assert [type(value) for value in run.results.values()] == [torch.nn.Linear] * 2, run.failures


SHARDS = """
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Partial, Replicate, Shard, DTensor, distribute_tensor
from torch.distributed._functional_collectives import all_reduce
mesh = init_device_mesh("cpu", (2,))
whole = torch.arange(6.0).reshape(3, 2)
part = distribute_tensor(whole, mesh, [Shard(0)])
net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
fully_shard(net, mesh=mesh)
optimizer = torch.optim.Adam(net.parameters())
net(torch.ones(2, 4)).sum().backward()
optimizer.step()
state = {"net": net.state_dict(), "optimizer": optimizer.state_dict()}
full = part.full_tensor()
same = distribute_tensor(whole, mesh, [Replicate()])
parameter = torch.nn.Parameter(part.clone().detach())
reduced = all_reduce(torch.tensor([rank + 1]), "sum", dist.group.WORLD)
sums = DTensor.from_local(torch.ones(2) * (rank + 1), mesh, [Partial()])
"""


def test_a_part_of_a_tensor_comes_back_as_that_and_says_so() -> None:
    run = run_cell(f"{SHARDS}state", collect=["full", "same", "parameter", "reduced", "sums", "part"])
    assert run.ok, run.failures
    shapes = {rank: {name: tuple(x.shape) for name, x in value["net"].items()} for rank, value in run.results.items()}
    assert shapes == {key: {"0.weight": (2, 4), "0.bias": (2,), "1.weight": (1, 4), "1.bias": (1,)} for key in (0, 1)}
    assert tuple(run.results[0]["optimizer"]["state"][0]["exp_avg"].shape) == (2, 4)
    own = run.collected
    assert own["part"][0].tolist() == [[0, 1], [2, 3]]
    assert own["part"][1].tolist() == [[4, 5]]
    assert own["full"][1].tolist() == own["same"][1].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert (type(own["parameter"][1]), own["parameter"][1].requires_grad) == (torch.nn.Parameter, True)
    assert (own["reduced"][0].tolist(), own["sums"][1].tolist()) == ([3], [2, 2])
    assert {type(own[name][0]) for name in ("part", "full", "same", "reduced", "sums")} == {torch.Tensor}
    (told,) = [line for line in run.logs[1].stderr.splitlines() if "DTensor" in line]
    assert told == (
        "'0.weight', a DTensor of shape (4, 4), is sent back as this rank's part of it, an ordinary tensor of shape "
        "(2, 4); so are 14 more, and some are sums that were still to be added up among the ranks. For the whole, "
        "return .full_tensor(), which all ranks must call"
    )


REFUSED = """
import torch.distributed.fsdp as fsdp
from torch.distributed.optim import ZeroRedundancyOptimizer
from nblaunch.payload import pack_named
def why_not(obj):
    try:
        pack_named({"it": [obj]}, to_cpu=True)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
work = dist.all_reduce(torch.ones(1), async_op=True)
work.wait()
objects = [
    dist.group.WORLD, dist.HashStore(), work, work.get_future(), dist.device_mesh.init_device_mesh("cpu", (2,)),
    fsdp.FullyShardedDataParallel(torch.nn.Linear(4, 4), device_id=torch.device("cpu")),
    fsdp.fully_shard(torch.nn.Linear(4, 4)),
    ZeroRedundancyOptimizer(torch.nn.Linear(1, 1).parameters(), optimizer_class=torch.optim.SGD),
]
group = dist.group.WORLD
{"reasons": [why_not(obj) for obj in objects]} if rank else objects[-2]
"""
WEIGHTS = (
    "Return its weights, as in get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, "
    "cpu_offload=True)), both of torch.distributed.checkpoint.state_dict, which all ranks must call"
)
ONLY = "works only among ranks, and they have ended by then"


def test_what_works_among_ranks_only_is_refused_with_what_to_return() -> None:
    # a library warns when it is asked, which the filters of these tests make an error
    run = run_cell(REFUSED, on_failure="continue", settings=False)
    assert str(run.failures[0].exception) == (
        "the value of the last expression, a FSDPLinear, cannot be sent back: an FSDPLinear (a kind of FSDPModule) "
        f"{ONLY}. {WEIGHTS}"
    )
    reasons = [reason.removeprefix("WorksInRanksOnly: ") for reason in run.results[1]["reasons"]]
    assert reasons[:-1] == [
        f"a ProcessGroup {ONLY}. Return what you need of it, as in torch.distributed.get_process_group_ranks(group)",
        f"a HashStore (a kind of Store) {ONLY}. Return what is in it, as in store.get(key)",
        f"a Work {ONLY}. Wait for it in the cell, work.wait(), and return the tensors that it has filled",
        f"a Future {ONLY}. Wait for it in the cell, and return what that gives: future.wait()",
        f"a DeviceMesh {ONLY}. Return what you need of it, as in mesh.shape; of a model on it, model.state_dict()",
        f"a FullyShardedDataParallel {ONLY}. {WEIGHTS}",
        f"an FSDPLinear (a kind of FSDPModule) {ONLY}. {WEIGHTS}",
    ]
    assert reasons[-1] == (
        f"a ZeroRedundancyOptimizer {ONLY}. It has this rank's part of the state: have all ranks call "
        "x.consolidate_state_dict(to=0), then return x.state_dict() from rank 0"
    )


ODD = """
class Meta(type):
    __name__ = __module__ = __mro__ = property(lambda cls: 1 / 0)
class Odd(metaclass=Meta):
    __module__ = property(lambda self: 1 / 0)
"""


def test_a_class_that_answers_no_questions_is_none_of_them() -> None:
    names: dict[str, Any] = {}
    exec(ODD, names)
    assert ForReturn().reducer(names["Odd"]) is None
    assert ForReturn().reducer(torch.nn.Linear) is None


def test_a_collected_variable_is_named() -> None:
    run = run_cell("group = dist.group.WORLD\nrank", collect=["group"])
    assert str(run.failures[0].exception).startswith(
        "the collected variable 'group', a ProcessGroup, cannot be sent back: a ProcessGroup works only among ranks"
    )
