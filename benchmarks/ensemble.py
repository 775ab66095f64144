"""Seeds per minute: a block of seeds trained together against Lightning, one seed after another.

    python -m benchmarks.ensemble mlp          # 784-64-2 on 2,000 gray images, 8 epochs
    python -m benchmarks.ensemble cnn          # the published CIFAR2 CNN on 256 color images, 1 epoch
    python -m benchmarks.ensemble resnet18     # width 8, likewise

Each engine does all of its work: data, training, final outputs of every split, files. The engines take turns, so that
other work on the machine slows both. ``core s`` is processor time over all threads, which such work changes little.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from models.configs import CNNConfig, MLPConfig, ModelConfig, ResNet18Config
from pipeline.config.numerics import NumericsConfig
from pipeline.config.run import RunConfig
from pipeline.config.training import SeedsConfig, TrainingConfig
from pipeline.stages.train.block_files import write_member
from pipeline.training.ensemble import train_block
from pipeline.training.fit import train_classifier
from pipeline.training.networks import build_network


class Images:
    """Random images of two classes; timings do not depend on what they show."""

    n_targets = 2
    augments = False

    def __init__(self, shape: tuple[int, ...], train: int, test: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.input_shape = shape
        self.rows = {
            name: {
                "image": torch.randn(n, *shape, generator=generator),
                "label": torch.arange(n) % 2,
                "id": torch.arange(n),
            }
            for name, n in (("train", train), ("test", test))
        }

    @property
    def splits(self) -> list[str]:
        return list(self.rows)

    def size(self, name: str) -> int:
        return len(self.rows[name]["id"])

    def batch(self, name: str, indices: torch.Tensor, generator: torch.Generator | None = None) -> dict:
        return {column: values[indices] for column, values in self.rows[name].items()}


@dataclasses.dataclass
class Workload:
    model: ModelConfig
    data: Callable[[], Images]
    epochs: int
    blocks: tuple[int, ...]
    alone: int
    """Seeds that the one-by-one engine trains in each turn."""


WORKLOADS = {
    "mlp": Workload(MLPConfig(widths=[64]), lambda: Images((1, 28, 28), 2000, 2000), 8, (5, 10, 20, 40), 3),
    "cnn": Workload(CNNConfig(variant="cifar2"), lambda: Images((3, 32, 32), 256, 128), 1, (2, 4), 1),
    "resnet18": Workload(ResNet18Config(width=8), lambda: Images((3, 32, 32), 256, 128), 1, (4, 8), 2),
}


def config_of(workload: Workload, seed: int, threads: int) -> RunConfig:
    training = TrainingConfig(optimizer="nesterov", lr=0.02, epochs=workload.epochs, batch_size=128, schedule="cosine")
    return RunConfig(
        model=workload.model,
        training=training,
        numerics=NumericsConfig(threads=threads),
        seed=seed,
        seeds=SeedsConfig(seed, seed, seed, seed),
    )


def one_by_one(workload: Workload, data: Images, seeds: range, threads: int, folder: Path) -> None:
    for seed in seeds:
        config = config_of(workload, seed, threads)
        work = folder / str(seed)
        work.mkdir()
        train_classifier(build_network(config, data), data, config, work, scratch=work / "scratch", progress=False)


def together(workload: Workload, data: Images, seeds: range, threads: int, folder: Path) -> None:
    members = train_block([config_of(workload, seed, threads) for seed in seeds], data, folder)
    for member in members:
        write_member(member, data, folder / str(member.config.seed))


def measure(work: Callable[..., None], workload: Workload, data: Images, count: int, threads: int) -> tuple:
    with tempfile.TemporaryDirectory() as folder:
        wall, core = time.perf_counter(), time.process_time()
        work(workload, data, range(count), threads, Path(folder))
        return (time.perf_counter() - wall) / count, (time.process_time() - core) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=3)
    chosen = parser.parse_args()
    workload = WORKLOADS[chosen.workload]
    data = workload.data()
    engines = [("one by one", one_by_one, workload.alone)]
    engines += [(f"block of {block}", together, block) for block in workload.blocks]
    measure(one_by_one, workload, data, 1, chosen.threads)  # first imports and allocations
    times: dict[str, list[tuple]] = {name: [] for name, _, _ in engines}
    for _ in range(chosen.turns):
        for name, work, count in engines:
            times[name].append(measure(work, workload, data, count, chosen.threads))
    best = {name: tuple(min(column) for column in zip(*found, strict=True)) for name, found in times.items()}
    print(f"{chosen.workload}, {chosen.threads} threads, best of {chosen.turns} turns, load {os.getloadavg()[0]:.1f}\n")
    print("| engine | seeds per minute | core s per seed | ratio (time) | ratio (core s) |")
    print("| --- | --- | --- | --- | --- |")
    wall_alone, core_alone = best["one by one"]
    for name, (wall, core) in best.items():
        print(f"| {name} | {60 / wall:.1f} | {core:.2f} | {wall_alone / wall:.1f} | {core_alone / core:.1f} |")


if __name__ == "__main__":
    main()
