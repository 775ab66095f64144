"""Small data and networks with everything that could break a byte promise: dropout, batch norm, augmentation."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path

import torch
from torch import nn

from models.configs import MLPConfig
from pipeline.config.run import RunConfig
from pipeline.training.fit import train_classifier

SPLITS = {"train": 70, "val": 20, "test": 30}


class Blobs:
    """Noisy 1x6x6 images of three classes; noise is the augmentation."""

    input_shape = (1, 6, 6)
    n_targets = 3

    def __init__(self, fail_at: int | None = None) -> None:
        generator = torch.Generator().manual_seed(3)
        means = torch.randn(3, 1, 6, 6, generator=generator)
        self.rows = {}
        for start, (name, n) in zip((0, 1000, 2000), SPLITS.items(), strict=True):
            label = torch.arange(n) % 3
            image = means[label] + torch.randn(n, 1, 6, 6, generator=generator)
            self.rows[name] = {"image": image, "label": label, "id": start + torch.arange(n)}
        self.fail_at = fail_at
        self.served = 0

    @property
    def splits(self) -> list[str]:
        return list(self.rows)

    def size(self, name: str) -> int:
        return len(self.rows[name]["label"])

    def batch(
        self, name: str, indices: torch.Tensor, generator: torch.Generator | None = None
    ) -> dict[str, torch.Tensor]:
        batch = {column: value[indices] for column, value in self.rows[name].items()}
        if generator is not None:
            self.served += 1
            if self.served == self.fail_at:
                raise RuntimeError("killed in mid-epoch")
            batch["image"] = batch["image"] + 0.1 * torch.randn(batch["image"].shape, generator=generator)
        return batch


class NoisyNet(nn.Module):
    """Convolution, batch norm and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(4 * 36, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.dropout(self.norm(self.conv(x)).relu().flatten(1)))


def noisy_net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(11)
        return NoisyNet()


def run_config(**training: object) -> RunConfig:
    config = RunConfig(model=MLPConfig())
    config = copy.deepcopy(config)
    values = {"optimizer": "nesterov", "lr": 0.05, "epochs": 4, "batch_size": 16, "schedule": "cosine", "warmup": 0.2}
    for name, value in {**values, **training}.items():
        setattr(config.training, name, value)
    return config


def train(folder: Path, *, data: object | None = None, config: RunConfig | None = None, **options):
    work, scratch = folder / "work", folder / "scratch"
    work.mkdir(parents=True, exist_ok=True)
    model = options.pop("model", None) or noisy_net()
    options = {"progress": False, **options}
    return train_classifier(model, data or Blobs(), config or run_config(), work, scratch=scratch, **options)


def digests(folder: Path) -> dict[str, str]:
    work = folder / "work"
    files = sorted(path for path in work.rglob("*") if path.is_file())
    return {str(path.relative_to(work)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
