"""Data-parallel training by those libraries that look at where they run: in ranks, as a script that torchrun starts."""

from __future__ import annotations

from typing import Any

import pytest

from nblaunch.launching.session import launch
from nblaunch.launching.source import Notebook
from tests.frameworks import need
from tests.kernel import Kernel

pytestmark = pytest.mark.frameworks

LIGHTNING = """
import lightning as L, torch
class Net(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
    def training_step(self, batch, _):
        return self.layer(batch[0]).square().mean()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)
    def train_dataloader(self):
        rows = torch.utils.data.TensorDataset(torch.arange(64.0).reshape(16, 4) / 64)
        return torch.utils.data.DataLoader(rows, batch_size=2)
trainer = L.Trainer(
    accelerator="cpu", devices=world_size, strategy="ddp", max_epochs=1, logger=False, enable_checkpointing=False
)
net = Net()
trainer.fit(net)
trainer.global_rank, trainer.world_size, trainer.global_step, net.layer.weight.tolist()
"""
FABRIC = """
import lightning as L, torch
fabric = L.Fabric(accelerator="cpu", devices=world_size, strategy="ddp")
fabric.launch()
torch.manual_seed(rank)
model = torch.nn.Linear(4, 1)
model, optimizer = fabric.setup(model, torch.optim.SGD(model.parameters(), lr=0.1))
fabric.backward(model(torch.full((2, 4), float(rank))).square().mean())
optimizer.step()
gathered = fabric.all_reduce(torch.tensor(rank + 1), reduce_op="sum").item()
fabric.global_rank, fabric.world_size, gathered, model.weight.tolist()
"""
ACCELERATE = """
import torch
from accelerate import Accelerator
accelerator = Accelerator(cpu=True)
torch.manual_seed(rank)
model = torch.nn.Linear(4, 1)
rows = torch.utils.data.TensorDataset(torch.arange(64.0).reshape(16, 4) / 64)
data = torch.utils.data.DataLoader(rows, batch_size=2)
model, optimizer, data = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1), data)
steps = 0
for (x,) in data:
    accelerator.backward(model(x).square().mean())
    optimizer.step()
    optimizer.zero_grad()
    steps += 1
accelerator.process_index, accelerator.num_processes, steps, accelerator.unwrap_model(model).weight.tolist()
"""
TRANSFORMERS = """
import os, tempfile, torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments
torch.manual_seed(rank)
model = BertForSequenceClassification(BertConfig(
    vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
    max_position_embeddings=16,
))
data = [{"input_ids": torch.tensor([i, 1, 2]), "labels": torch.tensor(i % 2)} for i in range(16)]
with tempfile.TemporaryDirectory() as place:
    arguments = TrainingArguments(
        output_dir=place, per_device_train_batch_size=2, num_train_epochs=1, report_to=[], use_cpu=True,
        save_strategy="no",
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=data)
    trainer.train()
arguments.process_index, arguments.world_size, trainer.state.global_step, model.classifier.weight.tolist()
"""


@pytest.mark.parametrize(
    ("needs", "cell", "third", "kept", "kind"),
    [
        ("lightning", LIGHTNING, 4, "net", "Net"),
        ("lightning", FABRIC, 3, "model", "Linear"),
        ("accelerate", ACCELERATE, 4, "model", "Linear"),
        ("transformers", TRANSFORMERS, 4, "model", "BertForSequenceClassification"),
    ],
    ids=["lightning", "fabric", "accelerate", "transformers"],
)
def test_ranks_train_together(needs: str, cell: str, third: int, kept: str, kind: str) -> None:
    need(needs)
    run = launch(cell, 2, notebook=Notebook({"__name__": "__main__"}), panel="none", collect=[kept], settings=False)
    assert run.ok, run.failures
    first, second = run.results[0], run.results[1]
    # each half of the data, and the same weights
    assert (first[:3], second[:3]) == ((0, 2, third), (1, 2, third))
    assert first[3] == second[3]
    # what was trained comes back, out of its wrapper
    assert [type(model).__name__ for model in run.collected[kept].values()] == [kind, kind]


ASKED = """
import sys
import lightning.fabric.utilities.imports, lightning.fabric.connector, lightning.pytorch.trainer.trainer
import huggingface_hub.utils, rich, transformers.trainer, transformers.utils
rich.get_console()
def answers():
    # by their names: some modules are lazy, and pickle as no module
    of = lambda name: sys.modules[name] if name in sys.modules else __import__(name, fromlist=["x"])
    connectors = "lightning.pytorch.trainer.connectors.accelerator_connector"
    return {
        "prompts": [name for name in ("ps1", "ps2", "ps3") if hasattr(sys, name)],
        "lightning": of("lightning.fabric.utilities.imports")._IS_INTERACTIVE,
        "fabric": of("lightning.fabric.connector")._IS_INTERACTIVE,
        "trainer": of(connectors)._IS_INTERACTIVE,
        "transformers": of("transformers.utils.import_utils").is_in_notebook(),
        "progress": of("transformers.trainer").DEFAULT_PROGRESS_CALLBACK.__name__,
        "hub": of("huggingface_hub.utils").is_notebook(),
        "rich": of("rich").get_console().is_jupyter,
    }
here = answers()
"""
A_SCRIPT: dict[str, Any] = {
    "prompts": [],
    "lightning": False,
    "fabric": False,
    "trainer": False,
    "transformers": False,
    "progress": "ProgressCallback",
    "hub": False,
    "rich": False,
}


def test_whatever_asks_in_a_rank_of_a_notebook_gets_the_answer_of_a_script() -> None:
    need("lightning", "transformers", "rich")
    with Kernel() as kernel:
        kernel.run("%load_ext nblaunch").ok()
        kernel.run(ASKED).ok()
        # so that it is not vacuous
        assert kernel.value("[here[name] for name in ('lightning', 'transformers', 'hub', 'rich')]") == [True] * 4
        for start_method in ("zygote", "fork"):
            kernel.run(f"%%multiproc 1 --start-method {start_method}\nanswers()").ok()
            assert kernel.value("results[0]") == A_SCRIPT
        # and here everything is as it was
        assert kernel.run("answers() == here").ok().value == "True"
