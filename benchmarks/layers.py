"""CKA between the layers of one network, by `compare_layers` and by pytorch-cka: time, and how far the numbers differ.

Both run the network themselves: 18 layers of ResNet-18 (convolutions on the main path, and the head), noise for images.
pytorch-cka (``pip install --no-deps pytorch-cka==1.1.3``) adds up products of pairs within a batch, so that its value
and its time depend on the batch; `compare_layers` takes all pairs of images.

    python -m benchmarks.layers [--images 1000] [--width 64] [--batches 1000 100]
"""

from __future__ import annotations

import argparse
import importlib
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from analysis import compare_layers
from kernels import layer_features
from models import build_model


def main_path(model: nn.Module) -> list[str]:
    """Name the convolutions of the main path and the head, in order of depth."""
    found = [
        name
        for name, module in model.named_modules()
        if (isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1)) or isinstance(module, nn.Linear)
    ]
    assert len(found) == 18, found
    return found


def ours(model: nn.Module, images: Tensor, layers: list[str], batch: int) -> np.ndarray:
    """Read every layer by batches, then compare blocks of examples; exact over all pairs of images."""
    parts: dict[str, list[np.ndarray]] = {layer: [] for layer in layers}
    with torch.inference_mode():
        for one in layer_features(model, images, layers, "flatten", batch_size=batch):
            for layer, values in one.features.items():
                parts[layer].append(values.numpy())
    whole = {layer: np.concatenate(parts.pop(layer)) for layer in layers}
    return compare_layers({"run": whole}).within_a_seed


def theirs(model: nn.Module, images: Tensor, layers: list[str], batch: int) -> np.ndarray:
    """Let pytorch-cka do the same with one data loader."""
    compute_cka = importlib.import_module("cka").compute_cka
    loader = DataLoader(images, batch_size=batch)  # type: ignore[arg-type]
    return compute_cka(model, model, loader, layers=layers, device="cpu", progress=False)[0].numpy()


def timed(function: Callable[..., np.ndarray], *args: Any) -> tuple[np.ndarray, float]:
    """Value, and seconds of the processor: other work on the machine does not count."""
    start = time.process_time()
    return function(*args), time.process_time() - start


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batches", type=int, nargs="+", default=[1000, 100], help="of pytorch-cka")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = build_model("resnet18", input_shape=(3, 32, 32), n_classes=10, seed=0, width=options.width).eval()
    images, layers = (
        torch.randn(options.images, 3, 32, 32, generator=torch.Generator().manual_seed(0)),
        main_path(model),
    )
    model(images[:2])
    exact, seconds = timed(ours, model, images, layers, 100)
    rows = [("compare_layers, float64", seconds, 0.0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)]
    for batch in options.batches:
        found, seconds = timed(theirs, model, images, layers, batch)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        rows.append((f"pytorch-cka, float32, batch {batch}", seconds, float(np.abs(found - exact).max()), peak))
    print(f"{options.images} images, width {options.width}, one thread\n")
    print("| what | CPU seconds | largest difference of a CKA | peak memory so far |\n| --- | --- | --- | --- |")
    for name, took, apart, peak in rows:
        print(f"| {name} | {took:.1f} | {apart:.1e} | {peak / 2**20:.2f} GiB |", flush=True)


if __name__ == "__main__":
    main()
