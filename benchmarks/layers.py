"""CKA between the layers of one network, by `compare_layers` and by pytorch-cka: time, and how far the numbers differ.

Both run the network themselves: 18 layers of ResNet-18 (convolutions on the main path, and the head), noise for images.
pytorch-cka (``pip install --no-deps pytorch-cka==1.1.3``) adds up products of pairs within a batch, so that its value
and its time depend on the batch. One batch of all images stands beside ``pairs="all"`` of `compare_layers`, smaller
ones beside ``pairs="batch"``. Each is held against our float64 value for all pairs; with ``--why`` what makes
pytorch-cka differ is taken apart: its own formula on the same features in float64, and by batches in float64.

    python -m benchmarks.layers [--images 1000] [--width 64] [--batches 1000 100] [--why]
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable, Iterator
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


def ours(model: nn.Module, images: Tensor, layers: list[str], batch: int, pairs: str) -> np.ndarray:
    """Compare all pairs from features that are kept, or pairs within a batch from a stream of which nothing is kept."""
    if pairs == "batch":
        return compare_layers({"run": batches_of(model, images, layers, batch)}, pairs="batch").within_a_seed
    return compare_layers({"run": features_of(model, images, layers)}).within_a_seed


def batches_of(model: nn.Module, images: Tensor, layers: list[str], batch: int) -> Iterator[dict[str, Tensor]]:
    """Read every layer by batches."""
    stream = layer_features(model, images, layers, "flatten", batch_size=batch)
    while True:
        with torch.inference_mode():
            found = next(stream, None)
        if found is None:
            return
        features = found.features
        del found
        yield features
        del features


def features_of(model: nn.Module, images: Tensor, layers: list[str], batch: int = 100) -> dict[str, np.ndarray]:
    """Layers as whole arrays, each written once."""
    whole: dict[str, np.ndarray] = {}
    start = 0
    for found in batches_of(model, images, layers, batch):
        for layer, values in found.items():
            if not start:
                whole[layer] = np.empty((len(images), values.shape[1]), np.float32)
            whole[layer][start : start + len(values)] = values.numpy()
        start += len(values)
    return whole


def theirs(model: nn.Module, images: Tensor, layers: list[str], batch: int) -> np.ndarray:
    """Let pytorch-cka do the same with one data loader."""
    compute_cka = importlib.import_module("cka").compute_cka
    loader = DataLoader(images, batch_size=batch)  # type: ignore[arg-type]
    return compute_cka(model, model, loader, layers=layers, device="cpu", progress=False)[0].numpy()


def timed(function: Callable[..., np.ndarray], *args: Any) -> tuple[np.ndarray, float]:
    """Value, and seconds of the processor: other work on the machine does not count."""
    start = time.process_time()
    return function(*args), time.process_time() - start


def why(model: nn.Module, images: Tensor, layers: list[str], batch: int) -> None:
    """Take apart why pytorch-cka differs: its formula on the same features, by precision, whole and by batches."""
    formula = importlib.import_module("cka").cka_from_features
    hsic = importlib.import_module("cka").hsic
    kept = list(features_of(model, images, layers).values())
    exact = compare_layers({"run": {str(i): part.astype(np.float64) for i, part in enumerate(kept)}}).within_a_seed
    print(
        "\n| the formula of pytorch-cka on our features | largest difference from float64, all pairs |\n| --- | --- |"
    )
    for kind in (torch.float32, torch.float64):
        whole = [torch.from_numpy(part).to(kind) for part in kept]
        print(f"| {str(kind)[6:]}, all pairs | {np.abs(formula(whole, whole).numpy() - exact).max():.1e} |")
        total = torch.zeros(len(kept), len(kept), dtype=kind)
        for start in range(0, len(images), batch):
            grams = torch.stack([part[start : start + batch] @ part[start : start + batch].T for part in whole])
            total += hsic(grams, grams)[0]
        root = total.diagonal().sqrt()
        found = (total / root / root[:, None]).numpy()
        print(f"| {str(kind)[6:]}, batches of {batch} | {np.abs(found - exact).max():.1e} |")
        del whole
    within = compare_layers(
        {"run": {str(i): part.astype(np.float64) for i, part in enumerate(kept)}}, pairs="batch", batch=batch
    )
    apart = np.abs(found - within.within_a_seed).max()
    print(f'\nfloat64 by batches of {batch} and `pairs="batch"` differ by {apart:.1e} at most')


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batches", type=int, nargs="+", default=[1000, 100], help="of pytorch-cka")
    parser.add_argument("--why", action="store_true", help="take apart why the values of pytorch-cka differ")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = build_model("resnet18", input_shape=(3, 32, 32), n_classes=10, seed=0, width=options.width).eval()
    noise = torch.Generator().manual_seed(0)
    images, layers = torch.randn(options.images, 3, 32, 32, generator=noise), main_path(model)
    model(images[:2])
    if options.why:
        why(model, images, layers, min(options.batches))
        return
    wide = {name: part.astype(np.float64) for name, part in features_of(model, images, layers).items()}
    exact = compare_layers({"run": wide}).within_a_seed
    del wide
    print(f"{options.images} images, width {options.width}, one thread\n")
    print("| pairs | what | CPU seconds | largest difference from float64, all pairs |\n| --- | --- | --- | --- |")
    for batch in options.batches:
        pairs = "all" if batch >= options.images else "batch"
        said = "all" if pairs == "all" else f"within batches of {batch}"
        found, seconds = timed(ours, model, images, layers, batch, pairs)
        print(f"| {said} | `compare_layers` | {seconds:.1f} | {np.abs(found - exact).max():.1e} |", flush=True)
        found, seconds = timed(theirs, model, images, layers, batch)
        print(f"| {said} | pytorch-cka | {seconds:.1f} | {np.abs(found - exact).max():.1e} |", flush=True)


if __name__ == "__main__":
    main()
