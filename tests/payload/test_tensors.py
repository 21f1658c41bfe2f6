"""torch tensors: their memory stays out of the stream, and everything that hangs together still does."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest

from nblaunch.payload import pack, pack_named, store, unpack, unpack_named

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch
COUNT = 20_000
SMALL = 4_000


def again(value: object, **options: Any) -> Any:
    with store(pack(value, **options)) as stored:
        (parts,) = stored.parts()
    return unpack(parts)


def stream_of(value: object) -> int:
    _, stream, *_ = (memoryview(chunk).nbytes for chunk in pack(value).chunks())
    return stream


def quantized(tensor: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is on its way out
        return torch.quantize_per_tensor(tensor, 0.5, 0, torch.qint8)


NUMBERS = torch.arange(COUNT, dtype=torch.float32)
COMPLEX = torch.complex(NUMBERS, NUMBERS)
TENSORS = {
    "plain": NUMBERS,
    "transposed": NUMBERS.reshape(100, -1).t(),
    "bfloat16": NUMBERS.bfloat16(),
    "float8": NUMBERS.to(torch.float8_e5m2),
    "bool": NUMBERS > 5,
    "conjugate": COMPLEX.conj(),
    "negated": COMPLEX.conj().imag,
    "needs a gradient": NUMBERS.clone().requires_grad_(),
    "parameter": torch.nn.Parameter(NUMBERS.clone()),
    "in shared memory": NUMBERS.clone().share_memory_(),
    "no elements": torch.empty(0),
    "no dimensions": torch.tensor(3.5),
    "quantized": quantized(NUMBERS),
    "sparse": torch.eye(500).to_sparse(),
}


def raw(tensor: Any) -> bytes:
    tensor = tensor.dequantize() if tensor.is_quantized else tensor.detach()
    tensor = (tensor.to_dense() if tensor.is_sparse else tensor).resolve_conj().resolve_neg()
    data: bytes = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return data


@pytest.mark.filterwarnings("ignore:.*quantize", "ignore:TypedStorage is deprecated")
@pytest.mark.parametrize("tensor", TENSORS.values(), ids=TENSORS.keys())
def test_tensors_of_every_kind(tensor: Any) -> None:
    assert stream_of(tensor) < SMALL
    arrived = again(tensor)
    assert type(arrived) is type(tensor)
    for name in ("dtype", "shape", "requires_grad", "layout", "is_quantized"):
        assert getattr(arrived, name) == getattr(tensor, name)
    assert arrived.is_conj() == tensor.is_conj()
    assert raw(arrived) == raw(tensor)


def test_tensors_are_mapped_and_writable() -> None:
    arrived = again(NUMBERS)
    arrived += 1
    assert arrived[5] == 6
    assert NUMBERS[5] == 5
    name = "memfd:nblaunch-objects"
    assert name in Path("/proc/self/maps").read_text()
    alias = arrived[3:5].numpy()
    del arrived
    assert alias.tolist() == [4, 5]
    del alias
    assert name not in Path("/proc/self/maps").read_text()


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
def test_the_memory_of_sparse_tensors_goes_too() -> None:
    arrived = again(torch.eye(5000).to_sparse_csr())
    assert arrived.values().sum() == 5000
    del arrived
    assert "memfd:nblaunch-objects" not in Path("/proc/self/maps").read_text()


def test_views_share_their_storage_again() -> None:
    base = torch.zeros(100, 100)
    part, integers = base[3:5], base.view(torch.int32)
    arrived = again([base, part, integers, base.untyped_storage()])
    arrived[0].fill_(1)
    assert arrived[1].sum() == 200
    assert arrived[2][0, 0] == 0x3F800000
    assert arrived[3]._untyped_storage.data_ptr() == arrived[0].data_ptr()
    assert sum(memoryview(chunk).nbytes for chunk in pack([base, part, integers]).chunks()) < 2 * base.nbytes


def test_tied_parameters_stay_tied_and_the_optimizer_knows_them() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(100, 100, bias=False), torch.nn.Linear(100, 100, bias=False))
    model[1].weight = model[0].weight
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(100)).sum().backward()
    optimizer.step()

    with store(pack_named({"model": model, "optimizer": optimizer})) as stored:
        (parts,) = stored.parts()
    arrived = unpack_named(parts)

    weight = arrived["model"][1].weight
    assert weight is arrived["model"][0].weight
    assert isinstance(weight, torch.nn.Parameter)
    assert arrived["optimizer"].param_groups[0]["params"][0] is weight
    before = copy.deepcopy(weight.detach())
    arrived["model"](torch.ones(100)).sum().backward()
    arrived["optimizer"].step()
    assert not torch.equal(weight, before)
    assert torch.equal(before, model[0].weight)
    assert again(model.state_dict())["1.weight"].shape == (100, 100)


class Tagged(torch.Tensor):  # type: ignore[misc,name-defined]
    """A subclass with something of its own."""


def test_subclasses_keep_what_they_have() -> None:
    tensor = NUMBERS.as_subclass(Tagged)
    tensor.tag = "mine"
    arrived = again(tensor)
    assert (type(arrived), arrived.tag, float(arrived[7])) == (Tagged, "mine", 7)


def test_tensors_without_memory() -> None:
    meta = again(torch.empty(3, device="meta"))
    assert (meta.device.type, tuple(meta.shape)) == ("meta", (3,))


def test_small_tensors_can_be_resized_and_large_ones_shared() -> None:
    assert again(torch.ones(3)).resize_(5000).shape == (5000,)
    arrived = again(NUMBERS).share_memory_()
    assert arrived.is_shared()
    assert arrived[9] == 9


def test_read_only_bytes_give_writable_tensors() -> None:
    arrived = unpack(bytes(pack(NUMBERS)))
    arrived[0] = 5
    assert arrived[1] == 1


def test_nothing_changes_for_tensors_on_the_cpu_when_others_are_fetched() -> None:
    assert torch.equal(again(NUMBERS, to_cpu=True), NUMBERS)
