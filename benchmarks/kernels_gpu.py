"""Exact kernels of the published ResNet-18 (3x3 stem, max-pool) on an accelerator, beside its matrix-product ceiling.

    python -m benchmarks.kernels_gpu --all [--images I.npy] [--minutes 8] [--table gpu.md]
    python -m benchmarks.kernels_gpu --n 10000 --kind pntk --precision tf32 [--images I.npy] [--weights W.safetensors]

``--all`` measures what RESULTS.md leaves open, most important first, within its minutes, and prints (and writes) one
table: the kernels of 50,000 images in TF32 and bfloat16, strict float32, every form that can be forced, the network
without max-pool, and all cards of the machine together where there are several. A row whose plan is longer than the
time that is left is skipped and says so. "In products" is the share of the device's time in matrix products: the rest
is what a fused kernel could save at most, for which none is needed otherwise.

A single measurement prints one JSON line: seconds, TFLOP/s of the planned arithmetic, the ceiling of a large matrix
product in the same precision measured in the same call, peak memory, and the largest entry error against float64 on a
sub-block, in units of sqrt(K_ii K_jj). Images: uint8 (N, 3, 32, 32) in an .npy file; without one, smooth random images.
With their classes (and trained weights) it also gives the rank correlation of the kernel's surrogate with the network.
The same code runs on a CPU at small N.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

ROWS: tuple[dict[str, Any], ...] = (
    {"n": 1.0, "kind": "pntk", "precision": "tf32"},
    {"n": 0.2, "kind": "pntk", "precision": "tf32", "profile": True},
    {"n": 0.2, "kind": "trntk", "precision": "tf32", "profile": True},
    {"n": 0.2, "kind": "pntk", "precision": "float32"},
    {"n": 0.2, "kind": "pntk", "precision": "bfloat16"},
    {"n": 0.2, "kind": "pntk", "precision": "tf32", "forms": "feature"},
    {"n": 0.2, "kind": "pntk", "precision": "tf32", "forms": "shift"},
    {"n": 0.2, "kind": "pntk", "precision": "tf32", "forms": "position"},
    {"n": 0.2, "kind": "pntk", "precision": "tf32", "no_max_pool": True},
    {"n": 0.2, "kind": "trntk", "precision": "float32"},
    {"n": 1.0, "kind": "trntk", "precision": "bfloat16"},
    {"n": 1.0, "kind": "trntk", "precision": "tf32"},
)
"""What ``--all`` measures, in this order; ``n`` is the share of ``--n``, by default of 50,000."""

GOALS = {("pntk", "tf32", 1.0): 60.0, ("trntk", "tf32", 1.0): 300.0}
"""Seconds within which the kernels of 50,000 images were planned, see tests/kernels/contraction/test_plan.py."""

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
def profiled(device: torch.device, report: dict[str, Any]) -> Iterator[None]:
    """Print the operations that take longest, in time on the device, and report the share of matrix products."""
    kind = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[kind.CPU, *([kind.CUDA] if device.type == "cuda" else [])]) as found:
        yield
    spent = {one.key: float(getattr(one, f"self_{_side(device)}_time_total")) for one in found.key_averages()}
    products = sum(spent.get(f"aten::{name}", 0.0) for name in ("mm", "addmm", "addmm_", "bmm", "baddbmm"))
    report["in_products"] = products / max(sum(spent.values()), 1e-9)
    print(found.key_averages().table(sort_by=f"self_{device.type}_time_total", row_limit=25), file=sys.stderr)


def _side(device: torch.device) -> str:
    return "device" if device.type == "cuda" else "cpu"


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
    if getattr(options, "forms", None):
        common["forms"] = options.forms
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
    if plan.seconds > getattr(options, "allowed", float("inf")):
        raise TimeoutError(f"skipped: planned {plan.seconds:.0f} s, {max(options.allowed, 0):.0f} s are left")
    report["ceiling_tflops"] = ceiling(device, options.precision) / 1e12
    kernel_matrix(model, images[: min(64, options.n)], **common)  # builds and tunes what first calls build and tune
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    synchronize(device)
    start = time.perf_counter()
    with profiled(device, report) if options.profile else nullcontext():
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


def measure_all(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure every row that fits into the time, and all cards together where there are several."""
    end, found = time.monotonic() + 60 * options.minutes, []
    for row in ROWS:
        one = copy.copy(options)
        vars(one).update(row | {"n": max(2, int(row["n"] * options.n)), "allowed": (end - time.monotonic()) / 1.3})
        report: dict[str, Any] = row | {"n": one.n}
        try:
            report |= measure(one)
        except (RuntimeError, ValueError, TimeoutError, MemoryError) as error:
            report["failed"] = str(error).splitlines()[0]
        goal = GOALS.get((row["kind"], row["precision"], row["n"]))
        report |= {} if goal is None else {"goal": goal}
        found.append(report)
        print(json.dumps(report), file=sys.stderr, flush=True)
    processes = options.processes or (torch.cuda.device_count() if options.device.startswith("cuda") else 1)
    if processes > 1:
        found.append(on_ranks(options, processes, end - time.monotonic()))
    return found


def on_ranks(options: argparse.Namespace, processes: int, seconds: float) -> dict[str, Any]:
    """Run the second row on several processes, one per card; the rest of its line is the first process's."""
    row = {name: value for name, value in ROWS[1].items() if name != "profile"}
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={processes}", "--standalone"]
    command += [
        "-m",
        "benchmarks.kernels_gpu",
        "--count",
        str(max(2, int(row["n"] * options.n))),
        "--kind",
        row["kind"],
    ]
    command += ["--precision", row["precision"], "--device", options.device.partition(":")[0]]
    command += ["--width", str(options.width), "--block", str(options.block)]
    command += [
        part
        for name in ("images", "weights")
        if getattr(options, name)
        for part in (f"--{name}", str(getattr(options, name)))
    ]
    report: dict[str, Any] = row | {"n": max(2, int(row["n"] * options.n)), "processes": processes}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=max(seconds, 1.0))
    except subprocess.TimeoutExpired:
        return report | {"failed": f"no result in {seconds:.0f} s"}
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return report | (json.loads(lines[-1]) if lines else {"failed": (done.stderr.splitlines() or ["no output"])[-1]})


def as_table(rows: list[dict[str, Any]]) -> str:
    """One line per measurement, in Markdown."""
    columns = {
        "seconds": "{:.3g}", "goal": "{:.0f}", "planned_seconds": "{:.3g}", "tflops": "{:.3g}",
        "ceiling_tflops": "{:.3g}", "share_of_ceiling": "{:.2f}", "in_products": "{:.2f}", "peak_gib": "{:.2f}",
        "error": "{:.1e}", "error_beside_float32": "{:.1e}",
    }  # fmt: skip
    heads = ["N", "kind", "precision", "what", *(name.replace("_", " ") for name in columns)]
    lines = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    for row in rows:
        what = [row.get("forms", ""), "no max-pool" if row.get("no_max_pool") else ""]
        what += [f"{row['processes']} processes"] if "processes" in row else []
        cells = [f"{row['n']:,}", row["kind"], row["precision"], ", ".join(filter(None, what))]
        if "failed" in row:
            cells += [row["failed"][:90], *[""] * (len(columns) - 1)]
        else:
            cells += [shape.format(row[name]) if name in row else "" for name, shape in columns.items()]
        lines.append(f"| {' | '.join(cells)} |")
    device = next((row for row in rows if "device" in row), {})
    return f"{device.get('device', '')}, torch {torch.__version__}\n\n" + "\n".join(lines) + "\n"


def join_ranks(options: argparse.Namespace) -> int:
    """Join the processes of torchrun, one card each; 0 where there is one process."""
    if "RANK" not in os.environ:
        return 0
    card = options.device.startswith("cuda")
    torch.distributed.init_process_group("nccl" if card else "gloo")
    if card:
        options.device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(options.device)
    return torch.distributed.get_rank()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="everything that is open, as a table")
    parser.add_argument("--minutes", type=float, default=8.0, help="that --all may take")
    parser.add_argument("--table", type=Path, help="also write the table of --all to this file")
    parser.add_argument("--processes", type=int, help="of the last row of --all; by default one per card")
    parser.add_argument("--n", "--count", type=int, dest="n", help="images; 50,000 with --all, else 10,000")
    parser.add_argument("--kind", default="pntk", choices=["pntk", "trntk"])
    parser.add_argument("--precision", default="tf32", choices=["float32", "tf32", "bfloat16", "float64"])
    parser.add_argument("--forms", help="force this form where a layer has it: feature, position or shift")
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
    options = parser.parse_args()
    options.n = options.n or (50_000 if options.all else 10_000)
    if options.all:
        found = as_table(measure_all(options))
        print(found)
        if options.table:
            options.table.write_text(found, encoding="utf-8")
        return
    rank = join_ranks(options)
    report = measure(options)
    if rank == 0:
        print(json.dumps(report))


if __name__ == "__main__":
    main()
