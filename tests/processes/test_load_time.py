"""Which variables cannot be changed any more in a process that has loaded its libraries."""

from __future__ import annotations

import os
import resource

import pytest

from nblaunch.processes.starting.load_time import differ_at_load, inherited, read_at_load


@pytest.mark.parametrize(
    "name",
    [
        "PYTHONHASHSEED",
        "PYTHONWARNINGS",
        "LD_LIBRARY_PATH",
        "MALLOC_ARENA_MAX",
        "OMP_PROC_BIND",
        "MKL_THREADING_LAYER",
        "OPENBLAS_CORETYPE",
        "NUMBA_DISABLE_JIT",
        "MPLBACKEND",
        "MATPLOTLIBRC",
        "HF_HOME",
        "TRANSFORMERS_OFFLINE",
        "TORCH_LOGS",
        "TORCHDYNAMO_DISABLE",
        "XDG_CACHE_HOME",
        "HOME",
        "TZ",
        "LANG",
        "LC_ALL",
    ],
)
def test_read_at_load(name: str) -> None:
    assert read_at_load({name: "1"}) == {name: "1"}
    assert differ_at_load({name: "1"}, {name: "2"})
    assert differ_at_load({name: "1"}, {})
    assert differ_at_load({}, {name: "1"})
    assert not differ_at_load({name: "1"}, {name: "1"})


@pytest.mark.parametrize(
    "name",
    [
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "PYTHONUNBUFFERED",
        "TORCH_NCCL_ASYNC_ERROR_HANDLING",
        "TORCHELASTIC_RUN_ID",
        "CUDA_VISIBLE_DEVICES",
        "RANK",
        "MASTER_PORT",
        "PATH",
        "HOMEPAGE",
        "TZDATA",
        "MY_LANG",
    ],
)
def test_told_or_read_later(name: str) -> None:
    assert read_at_load({name: "1"}) == {}
    assert not differ_at_load({name: "1"}, {name: "2"})


def test_numbers_of_threads_that_no_library_can_be_told() -> None:
    assert read_at_load({"OMP_NUM_THREADS": "2,1"}) == {"OMP_NUM_THREADS": "2,1"}


def test_what_is_inherited() -> None:
    found = inherited()
    old = os.umask(0o027)
    try:
        assert inherited() == found | {"umask": "0027"}
    finally:
        os.umask(old)
    assert inherited() == found
    assert found["umask"] == f"{old:04o}"
    assert found["cores"] == os.sched_getaffinity(0)
    assert isinstance(found["limits"], list)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) in found["limits"]
