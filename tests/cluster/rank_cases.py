"""Three networks trained for five steps in float64, alone or as one of several ranks.

Run by ``torch.distributed.run`` as a module, it trains them on the ranks of its group and saves the leader's weights.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from torch import nn

from models import build_model
from models.configs import MLPConfig
from pipeline.config.run import RunConfig
from pipeline.machine.ranks import shutdown
from pipeline.training.fit import train_classifier

CASES = ("mlp", "gpt2", "resnet18")
BATCH, STEPS = 8, 5


class Rows:
    """Rows in memory, never augmented: images (1, 8, 8), or texts of six tokens with two of padding in some."""

    n_targets = 3

    def __init__(self, kind: str) -> None:
        generator = torch.Generator().manual_seed(1)
        self.input_shape = (6,) if kind == "text" else (1, 8, 8)
        self.rows = {}
        for split, n in (("train", BATCH * STEPS), ("val", 6), ("test", 6)):
            columns = {"label": torch.arange(n) % 3, "id": torch.arange(n)}
            if kind == "text":
                columns["input_ids"] = torch.randint(1, 50, (n, 6), generator=generator)
                columns["attention_mask"] = torch.ones(n, 6, dtype=torch.int64)
                columns["attention_mask"][::2, 4:] = 0
                columns["input_ids"][::2, 4:] = 0
            else:
                columns["image"] = torch.randn(n, 1, 8, 8, generator=generator)
            self.rows[split] = columns

    @property
    def splits(self) -> list[str]:
        return list(self.rows)

    def size(self, name: str) -> int:
        return len(self.rows[name]["label"])

    def batch(self, name, indices, generator=None):
        return {column: values[indices] for column, values in self.rows[name].items()}


def network(case: str, data: Rows) -> nn.Module:
    options = {
        "mlp": {"name": "mlp", "widths": [16]},
        "resnet18": {"name": "resnet18", "width": 4, "norm": "frozen"},
        "gpt2": {
            "name": "text_classifier",
            "family": "gpt2",
            "architecture": {
                "vocab_size": 50,
                "n_layer": 2,
                "n_head": 2,
                "n_embd": 16,
                "n_positions": 8,
                "pad_token_id": 0,
                "attn_pdrop": 0.0,
                "embd_pdrop": 0.0,
                "resid_pdrop": 0.0,
            },
        },
    }[case]
    name = options.pop("name")
    return build_model(name, input_shape=data.input_shape, n_classes=3, seed=5, **options).double()


def train(case: str, folder: Path, world_size: int) -> Path:
    """Train one case and return the file of its weights."""
    config = RunConfig(model=MLPConfig())
    config.numerics.precision, config.numerics.world_size = "64-true", world_size
    config.training.epochs, config.training.batch_size, config.training.lr = 1, BATCH, 0.01
    config.training.optimizer = "adamw" if case == "gpt2" else "nesterov"
    work = folder / case
    work.mkdir(parents=True, exist_ok=True)
    data = Rows("text" if case == "gpt2" else "image")
    train_classifier(network(case, data), data, config, work, scratch=work / "scratch", progress=False)
    return work / "weights.safetensors"


if __name__ == "__main__":
    torch.distributed.init_process_group("gloo")
    for item in CASES:
        train(item, Path(sys.argv[1]), int(os.environ["WORLD_SIZE"]))
    shutdown()
