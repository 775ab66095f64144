"""What a stranger brings: a network in a file of their own, images, trained weights and outputs, in one folder."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models import build_model
from pipeline.machine.code_digest import see_working_folder

NETWORK = """
import torch
from torch import nn

from {layers} import Scaled


class MyNet(nn.Module):
    def __init__(self, in_channels, num_classes, width=8):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, 3, padding=1)
        self.scale = Scaled()
        self.fc = nn.Linear(width, num_classes)

    def forward(self, x):
        return self.fc(self.scale(torch.relu(self.conv(x)).mean((2, 3))))


class Scales(MyNet):
    def forward(self, x):
        return self.scale(super().forward(x))


def make(num_classes, input_shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(int(torch.tensor(input_shape).prod()), num_classes))


def fixed(width=4):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 7))


def no_module():
    return {{"a": 1}}


def breaks():
    raise RuntimeError("no luck today.")


def wrong_shape():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())


def halves(num_classes):
    return nn.Sequential(nn.Conv2d(1, num_classes, 3))


def single():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 1))


class Mixed(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, dtype=torch.float64))
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x):
        return self.scale.float() * self.fc(x.flatten(1))


def acting(num_classes, act=nn.ReLU()):
    return nn.Sequential(nn.Flatten(), act, nn.Linear(64, num_classes))


def kept(num_classes, body=nn.Linear(64, 4)):
    return nn.Sequential(nn.Flatten(), body, nn.Linear(4, num_classes))


built = nn.Linear(2, 2)
number = 3
"""
LAYERS = """
from torch import nn


class Scaled(nn.Module):
    def forward(self, x):
        return 2.0 * x
"""
CLASSES = 3


def write_network(folder: Path, name: str = "mynet") -> Path:
    """Write a network that imports a file beside it; both names are the caller's own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}_layers.py").write_text(LAYERS)
    (folder / f"{name}.py").write_text(NETWORK.format(layers=f"{name}_layers"))
    return folder


def enter(folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Work in a folder as a command does, with its modules not yet imported; all is put back after the test."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    for name in names:
        for module in (name, f"{name}_layers"):
            monkeypatch.delitem(sys.modules, module, raising=False)
    sys.path_importer_cache.clear()


def write_images(folder: Path, train: int = 60, test: int = 30) -> tuple[str, ...]:
    """Write noisy 8x8 images of three classes and give the overrides that read them."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    means = rng.integers(40, 160, (CLASSES, 8, 8))
    for split, n in (("train", train), ("test", test)):
        label = np.arange(n) % CLASSES
        image = np.clip(means[label] + rng.normal(0, 40, (n, 8, 8)), 0, 255).astype(np.uint8)
        np.savez(folder / f"{split}.npz", image=image, label=label)
    return (
        "data=images",
        "data.source=path",
        "data.path.format=npz",
        f"data.path.train='{folder}/train.npz'",
        f"data.path.test='{folder}/test.npz'",
        "data.split.val=0",
        "data.image.mean=[0.0]",
        "data.image.std=[1.0]",
    )


def write_resnets(folder: Path) -> tuple[str, ...]:
    """Write weights of two untrained ResNets and color images of ten classes; give the overrides that read them."""
    write_resnet_weights(folder)
    rng = np.random.default_rng(0)
    for split, n in (("train", 400), ("test", 200), ("jpeg", 200)):
        np.savez(folder / f"{split}.npz", image=rng.integers(0, 256, (n, 32, 32, 3), np.uint8), label=np.arange(n) % 10)
    return (
        f"weights.path='{folder}/resnet{{model.depth}}-*.th'",
        "data.source=path",
        "data.path.format=npz",
        f"data.path.train='{folder}/train.npz'",
        f"data.path.test='{folder}/test.npz'",
    )


def write_resnet_weights(folder: Path) -> None:
    """Write weights of two untrained ResNets as their publisher writes them."""
    for depth in (20, 32):
        model = build_model("cifar_resnet", input_shape=(3, 32, 32), n_classes=10, seed=0, depth=depth)
        state = {f"module.{name}": value for name, value in model.state_dict().items()}
        torch.save({"state_dict": state, "best_prec1": 10.0}, folder / f"resnet{depth}-made.th")


def network(seed: int, width: int = 8, classes: int = CLASSES, channels: int = 1) -> nn.Module:
    """Give the written network with other weights for every seed; its file must be in the current folder."""
    see_working_folder()
    torch.manual_seed(seed)
    return import_module("mynet").MyNet(channels, classes, width)
