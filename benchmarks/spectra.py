"""Spectra during training: what a full spectrum, a tail's null and a toy run cost, against the obvious way.

    python -m benchmarks.spectra spectrum     Gram eigenvalues against an SVD, and a whole network's weights
    python -m benchmarks.spectra null         bidiagonal noise against dense noise for a tail's p-values
    python -m benchmarks.spectra toy          all seeds in one batched product against one torch module per seed
    python -m benchmarks.spectra overhead     training with and without snapshots, alternating in this process

Agreement is printed next to the seconds; times are CPU seconds of this process, for `overhead` wall-clock seconds.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from analysis.spectra.heavy_tails import simulate_wishart_spectrum
from analysis.spectra.weights import ks_between, weight_spectrum
from models import build_model
from models.two_layer import TwoLayerNet
from pipeline.config.snapshots import SnapshotsConfig
from pipeline.config.toy import ToyConfig
from pipeline.engine.cells import compose_run
from pipeline.stages.toy.train import make_ensemble, train_all_seeds
from pipeline.training.fit import train_classifier
from pipeline.training.snapshot_schedule import snapshot_steps
from pipeline.training.snapshots import SnapshotWriter

RESNET18 = [(64, 27), *[(64, 576)] * 4, (128, 576), *[(128, 1152)] * 3, (128, 64), (256, 1152), *[(256, 2304)] * 3]
RESNET18 += [(256, 128), (512, 2304), *[(512, 4608)] * 3, (512, 256), (10, 512)]
GPT2 = [(50257, 768), (1024, 768), *[(2304, 768), *[(768, 768)] * 4, (3072, 768), (768, 3072)] * 12]


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    out = function()
    return out, time.process_time() - start


def spectrum() -> None:
    generator = torch.Generator().manual_seed(0)
    for shape in ((1500, 1000), (512, 4608), (3072, 768)):
        weight = torch.randn(shape, generator=generator)
        ours, fast = timed(lambda weight=weight: weight_spectrum(weight))
        svd, slow = timed(lambda weight=weight: torch.linalg.svdvals(weight.double()).numpy())
        gap = np.max(np.abs(ours - svd)) / svd[0]
        print(f"{shape}: Gram {fast:.2f} s, svdvals {slow:.2f} s, ratio {slow / fast:.1f}, largest gap {gap:.1e}")
    for name, shapes in (("ResNet-18", RESNET18), ("GPT-2", GPT2)):
        weights = {shape: torch.randn(shape, generator=generator) for shape in set(shapes)}
        seconds = {shape: timed(lambda w=w: weight_spectrum(w))[1] for shape, w in weights.items()}
        print(f"{name}: all {len(shapes)} matrices {sum(seconds[shape] for shape in shapes):.1f} s a snapshot")


def null() -> None:
    generator = np.random.default_rng(0)

    def dense() -> np.ndarray:
        z = generator.standard_normal((1500, 1000))
        return np.linalg.eigvalsh(z.T @ z / 1500)

    simulate_wishart_spectrum(1500, 1000, generator)
    fast, ours = timed(lambda: [simulate_wishart_spectrum(1500, 1000, generator) for _ in range(20)])
    slow, theirs = timed(lambda: [dense() for _ in range(5)])
    gap = ks_between(np.concatenate(fast), np.concatenate(slow))
    print(f"1500 x 1000 noise spectrum: bidiagonal {ours / 20:.3f} s, dense {theirs / 5:.3f} s, KS between {gap:.4f}")


def toy() -> None:
    config = ToyConfig(samples=1000, seeds=list(range(8)), rate=10.0, rate_unit="absolute", steps=200)
    ensemble = make_ensemble(config)
    last: list[torch.Tensor] = []
    _, batched = timed(lambda: train_all_seeds(config, ensemble, lambda step, w, v: last.append(w.clone())))
    width, features = config.shape

    def one(index: int) -> torch.Tensor:
        net = TwoLayerNet(features, width)
        with torch.no_grad():
            net.hidden.weight.copy_(ensemble.hidden[index])
            net.readout.weight.copy_(ensemble.readout[index][None])
        optimizer = torch.optim.SGD(net.parameters(), lr=config.rate)
        x, y = ensemble.inputs[index], ensemble.targets[index]
        for step in range(config.steps):
            rows = torch.arange(32) + 32 * (step % 31)
            optimizer.zero_grad()
            (0.5 * ((net(x[rows])[:, 0] - y[rows]) ** 2).mean()).backward()
            optimizer.step()
        return net.hidden.weight.detach()

    _, loop = timed(lambda: [one(index) for index in range(8)])
    print(f"8 seeds, n = 1000, 200 steps of SGD32: batched {batched:.1f} s, module loop {loop:.1f} s")


class RandomRows:
    """Random images or texts of two classes, in memory."""

    n_targets = 2

    def __init__(self, rows: dict[str, torch.Tensor], input_shape: tuple[int, ...]) -> None:
        self.rows, self.input_shape, self.splits = rows, input_shape, ["train", "val", "test"]

    def size(self, name: str) -> int:
        return len(self.rows["label"]) if name == "train" else 8

    def batch(self, name: str, indices: torch.Tensor, generator: torch.Generator | None = None) -> dict[str, Any]:
        return {column: values[indices] for column, values in self.rows.items()}


def overhead(case: str = "") -> None:
    generator = torch.Generator().manual_seed(0)
    n, batch = 640, 32
    shared = {"label": torch.arange(n) % 2, "id": torch.arange(n)}
    images = shared | {"image": torch.randn(n, 3, 32, 32, generator=generator)}
    words = torch.randint(1, 1000, (n, 32), generator=generator)
    texts = shared | {"input_ids": words, "attention_mask": torch.ones_like(words)}
    tiny = {"n_embd": 64, "n_layer": 2, "n_head": 2, "n_positions": 64, "vocab_size": 1000}
    tiny |= {"bos_token_id": 0, "eos_token_id": 0}
    cases: dict[str, tuple[str, RandomRows, dict[str, Any], int, int]] = {
        "ResNet-18, width 16": ("resnet18", RandomRows(images, (3, 32, 32)), {"width": 16}, 10, 3),
        "GPT-2, 2 layers of 64": ("text_classifier", RandomRows(texts, (32,)), {"architecture": tiny}, 10, 3),
        "GPT-2, longer": ("text_classifier", RandomRows(texts, (32,)), {"architecture": tiny}, 100, 1),
    }
    for name, (model, data, options, epochs, repeats) in cases.items():
        if not name.startswith(case):
            continue
        config = compose_run(("training=adamw", f"training.batch_size={batch}", f"training.epochs={epochs}"))
        steps = epochs * n // batch
        seconds: dict[str, list[float]] = {"none": [], "spectra": [], "spectra, kernel": []}
        stalls: dict[str, list[float]] = {record: [] for record in seconds}
        for _ in range(repeats):
            for record, times in seconds.items():
                with tempfile.TemporaryDirectory() as place:
                    folder = Path(place)
                    chosen = SnapshotsConfig(record=[] if record == "none" else record.split(", "))
                    writer = None if record == "none" else TimedWriter(folder / "snapshots", chosen, data)
                    network = build_model(model, input_shape=data.input_shape, n_classes=2, seed=0, **options)
                    start = time.perf_counter()
                    train_classifier(
                        network, data, config, folder, scratch=folder / "scratch", snapshots=writer, progress=False
                    )
                    times.append(time.perf_counter() - start)
                    if writer is not None:
                        stalls[record].append(writer.stalled / len(writer.steps))
        step = float(np.mean(seconds["none"])) / steps
        print(f"{name}: {step * 1e3:.0f} ms a step, {steps} steps, {repeats} runs each", flush=True)
        for record in ("spectra", "spectra, kernel"):
            ratios = ", ".join(f"{r:+.1%}" for r in np.array(seconds[record]) / np.array(seconds["none"]) - 1)
            each = float(np.mean(stalls[record]))
            share = each * len(snapshot_steps("log", total_steps=steps, steps_per_epoch=1)) / (step * steps)
            lengths = (k for k in range(20, 10**6, 20) if each * (2 + 4 * np.log10(k)) < 0.03 * k * step)
            spread = f"{min(stalls[record]) * 1e3:.0f} to {max(stalls[record]) * 1e3:.0f}"
            print(
                f"  {record}: whole runs {ratios}; training waits {each * 1e3:.0f} ms a snapshot ({spread}), "
                f"{share:.1%} of this length, under 3 % from {next(lengths):,} steps",
                flush=True,
            )


class TimedWriter(SnapshotWriter):
    """Adds up how long the training thread waits."""

    stalled = 0.0

    def _record(self, *arguments: Any) -> None:
        start = time.perf_counter()
        super()._record(*arguments)
        self.stalled += time.perf_counter() - start

    def on_train_epoch_end(self, *arguments: Any) -> None:
        start = time.perf_counter()
        super().on_train_epoch_end(*arguments)
        self.stalled += time.perf_counter() - start


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["spectrum", "null", "toy", "overhead"])
    parser.add_argument("--case", default="", help="overhead: only the cases whose name starts so")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.what == "overhead":
        overhead(options.case)
    else:
        {"spectrum": spectrum, "null": null, "toy": toy}[options.what]()
