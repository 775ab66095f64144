"""Exact kernel of the published ResNet-18 (3x3 stem, max-pool) on one accelerator, and its matrix-product ceiling.

    python -m benchmarks.kernels_gpu --n 10000 --kind pntk --precision tf32 [--images I.npy] [--weights W.safetensors]

Prints one JSON line: seconds, TFLOP/s of the planned arithmetic, the ceiling of a large matrix product in the same
precision measured in the same call, peak memory, and the largest entry error against float64 on a sub-block, in units
of sqrt(K_ii K_jj). Images: uint8 (N, 3, 32, 32) in an .npy file; without one, smooth random images. With their classes
(and trained weights) it also gives the rank correlation of the kernel's surrogate with the network. The same code runs
on a CPU at small N.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)


def network(weights: Path | None, max_pool: bool, width: int, device: torch.device) -> nn.Module:
    from models.resnet18 import ResNet18

    torch.manual_seed(0)
    model = ResNet18((3, 32, 32), 10, width=width, max_pool=max_pool)
    if weights is None:
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                nn.init.normal_(buffer, std=0.1)
            if name.endswith("running_var"):
                nn.init.uniform_(buffer, 0.5, 1.5)
    else:
        from safetensors.torch import load_file

        model.load_state_dict(load_file(weights))
    return model.eval().to(device)


def load_images(path: Path | None, n: int) -> Tensor:
    if path is None:
        generator = torch.Generator().manual_seed(0)
        coarse = torch.rand(n, 3, 8, 8, generator=generator)
        images = nn.functional.interpolate(coarse, size=(32, 32), mode="bilinear")
    else:
        stored = np.load(path, mmap_mode="r")
        if len(stored) < n:
            raise ValueError(f"{path} holds {len(stored)} images, {n} were requested")
        images = torch.from_numpy(np.array(stored[:n])).float() / 255
    return (images - torch.tensor(MEAN)[:, None, None]) / torch.tensor(DEVIATION)[:, None, None]


def ceiling(device: torch.device, precision: str) -> float:
    """FLOP/s of a large square product, as the contraction multiplies."""
    from kernels.machine.precision import precision_named, product

    side = 8192 if device.type == "cuda" else 1024
    named = precision_named(precision)
    left, right = (torch.randn(side, side, device=device).to(named.operands) for _ in range(2))
    with named.contraction():
        for _ in range(3):
            product(left, right)
        synchronize(device)
        start, rounds = time.perf_counter(), 0
        while time.perf_counter() - start < 1.0:
            for _ in range(4):
                product(left, right)
            rounds += 4
            synchronize(device)
        return 2 * side**3 * rounds / (time.perf_counter() - start)


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def profiled(device: torch.device) -> Iterator[None]:
    """Print the operations that take longest, in time on the device."""
    kind = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[kind.CPU, *([kind.CUDA] if device.type == "cuda" else [])]) as found:
        yield
    print(found.key_averages().table(sort_by=f"self_{device.type}_time_total", row_limit=25), file=sys.stderr)


def largest_error(model: nn.Module, images: Tensor, found: Tensor, kind: str) -> dict[str, float]:
    """Entry errors of the first samples' block against float64, and of float32 passes alone for comparison."""
    from kernels import kernel_matrix

    truth = kernel_matrix(model, images, kind=kind, normalize=False, precision="float64").matrix.cpu()
    scale = truth.diagonal().sqrt()
    scale = scale[:, None] * scale
    single = kernel_matrix(model, images, kind=kind, normalize=False, precision="float32").matrix.cpu().double()
    return {
        "error": float(((found.double().cpu() - truth).abs() / scale).max()),
        "error_of_float32": float(((single - truth).abs() / scale).max()),
        "error_beside_float32": float(((found.double().cpu() - single).abs() / scale).max()),
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    from kernels import kernel_matrix, plan_kernel

    device = torch.device(options.device)
    model = network(options.weights, not options.no_max_pool, options.width, device)
    images = load_images(options.images, options.n)
    common: dict[str, Any] = {"kind": options.kind, "normalize": False, "precision": options.precision}
    if options.memory:
        common["memory"] = options.memory
    report: dict[str, Any] = {
        "command": "python -m benchmarks.kernels_gpu " + " ".join(sys.argv[1:]),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu",
        "torch": torch.__version__,
        "n": options.n,
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    plan = plan_kernel(model, images, **common)
    print(plan, file=sys.stderr, flush=True)
    report |= {"planned_flop": plan.flops, "planned_seconds": plan.seconds, "passes": plan.passes}
    report["ceiling_tflops"] = ceiling(device, options.precision) / 1e12
    kernel_matrix(model, images[: min(64, options.n)], **common)  # builds and tunes what first calls build and tune
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    synchronize(device)
    start = time.perf_counter()
    with profiled(device) if options.profile else nullcontext():
        result = kernel_matrix(model, images, out=options.out, **common)
        synchronize(device)
    report["seconds"] = time.perf_counter() - start
    report["tflops"] = plan.flops / report["seconds"] / 1e12
    report["share_of_ceiling"] = report["tflops"] / report["ceiling_tflops"]
    if device.type == "cuda":
        report["peak_gib"] = torch.cuda.max_memory_allocated(device) / 2**30
    block = min(options.block, options.n)
    report |= largest_error(model, images[:block], result.matrix[:block, :block].float(), options.kind)
    if options.labels:
        from benchmarks.surrogate_tau import surrogate_tau

        report |= surrogate_tau(model, images, np.load(options.labels)[: options.n], result.matrix)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--kind", default="pntk", choices=["pntk", "trntk"])
    parser.add_argument("--precision", default="tf32", choices=["float32", "tf32", "bfloat16", "float64"])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--labels", type=Path, help="classes of the images, .npy: also fit a surrogate, for its tau")
    parser.add_argument("--no-max-pool", action="store_true")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--memory", help="budget, such as 60GiB")
    parser.add_argument("--out", type=Path, help="also time the write to this .safetensors file")
    parser.add_argument("--profile", action="store_true", help="print the slowest operations; costs some time")
    parser.add_argument("--block", type=int, default=64, help="side of the block compared with float64")
    print(json.dumps(measure(parser.parse_args())))


if __name__ == "__main__":
    main()
