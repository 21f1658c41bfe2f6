"""Two agents of torch elastic on this layer, each with ranks, meet at one rendezvous."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes.targets import LIMIT

pytestmark = [pytest.mark.torch, pytest.mark.frameworks]
pytest.importorskip("torch.distributed.run")  # before the import of what needs it too

from tests.processes.test_torchrun import ALIASED, ROOT  # noqa: E402

PROGRAM = """
import multiprocessing, os, socket, sys, uuid

def train(factor):
    import torch
    import torch.distributed as dist
    dist.init_process_group("gloo")
    number = torch.ones(1) * factor
    dist.all_reduce(number)
    return number.item()

def agent(run_id, endpoint, log_dir, results):
    from torch.distributed.elastic.agent.server.api import WorkerSpec
    from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.rendezvous import RendezvousParameters
    from torch.distributed.elastic.rendezvous.registry import get_rendezvous_handler
    handler = get_rendezvous_handler(
        RendezvousParameters(backend="c10d", endpoint=endpoint, run_id=run_id, min_nodes=2, max_nodes=2)
    )
    spec = WorkerSpec(
        role="trainer", local_world_size=2, entrypoint=train, args=(2.0,), rdzv_handler=handler, max_restarts=0,
        monitor_interval=0.1,
    )
    result = LocalElasticAgent(spec, logs_specs=DefaultLogsSpecs(log_dir), start_method="spawn").run()
    results.put((result.is_failed(), sorted(result.return_values.items())))

if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    for _ in range(int(sys.argv[1])):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            endpoint = f"127.0.0.1:{free.getsockname()[1]}"
        results = context.SimpleQueue()
        run_id = str(uuid.uuid4())
        agents = [context.Process(target=agent, args=(run_id, endpoint, f"logs{i}", results)) for i in range(2)]
        for one in agents:
            one.start()
        for one in agents:
            one.join()
        print([one.exitcode for one in agents], sorted(results.get() for _ in agents))
"""


@pytest.mark.timeout(300)
def test_both_come_to_the_same(tmp_path: Path) -> None:
    runs = 3
    (tmp_path / "program.py").write_text(ALIASED + PROGRAM)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "program.py", str(runs)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": ROOT, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=LIMIT * 5,
    )
    told = [(False, [(0, 8.0), (1, 8.0)]), (False, [(2, 8.0), (3, 8.0)])]
    assert done.stdout == f"[0, 0] {told}\n" * runs, done.stderr
