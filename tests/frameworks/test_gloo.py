"""Process groups that nobody destroys: ranks end one after the other, and none is aborted by gloo's threads."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from nblaunch.processes import DefaultLogsSpecs, start_processes

pytestmark = pytest.mark.frameworks

RANKS = 4


def add_up(rank: int) -> float:
    import torch
    import torch.distributed as dist

    dist.init_process_group("gloo", rank=rank, world_size=RANKS)
    ones = torch.ones(3)
    dist.all_reduce(ones)
    return float(ones.sum())


@pytest.mark.parametrize(("method", "runs"), [("spawn", 4), ("forkserver", 1), ("zygote", 1)])
@pytest.mark.timeout(300)
def test_none_is_aborted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, runs: int) -> None:
    import torch.distributed

    assert torch.distributed.is_gloo_available()
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    for run in range(runs):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        envs = {rank: {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port} for rank in range(RANKS)}
        args = {rank: (rank,) for rank in range(RANKS)}
        logs = DefaultLogsSpecs(log_dir=str(tmp_path / str(run)))
        result = start_processes("gloo", add_up, args, envs, logs, start_method=method).wait(120)
        assert result is not None
        assert result.failures == {}
        assert result.return_values == dict.fromkeys(range(RANKS), 12.0)
