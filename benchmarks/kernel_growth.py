"""How the time of an exact kernel grows with the number of samples, beside its limit and its plan.

    python -m benchmarks.kernel_growth [--suites mlp gpt2 resnet18] [--picture benchmarks/kernel_growth.svg]
    python -m benchmarks.kernel_growth --cell resnet18:512
    python -m benchmarks.kernel_growth --cpu-time  # CPU seconds of one thread: the machine is not quiet

The limit is what no engine that forms this kernel on this machine can go below by much: one training step over all
samples, and the plan's arithmetic at the rate of a large matrix product. Both are measured in the process that computes
the kernel, with two threads unless ``--cpu-time`` says one. The plan is made before the kernel and knows none of its
times. Where a kernel takes less than half a minute, plan, step and kernel take turns and the smallest of each counts:
what else the machine does only adds, to what a plan measures as much as to what it foretells. "First" is the first
plan over the first kernel of the process.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.kernels import THREADS, in_turns, measured, run_process, training_seconds

SIZES = {"mlp": (512, 1024, 2048, 4096, 8192), "gpt2": (64, 256, 512, 1024), "resnet18": (64, 128, 256, 512, 1024)}
BATCH = {"mlp": 512, "gpt2": 64, "resnet18": 64}
LIMIT = 900


def product_rate(side: int = 2048) -> float:
    """FLOP/s of a large matrix product, the fastest of a few."""
    import torch

    left, right, out = (torch.ones(side, side) for _ in range(3))
    seconds = float("inf")
    for _ in range(4):
        start = time.perf_counter()
        torch.mm(left, right, out=out)
        seconds = min(seconds, time.perf_counter() - start)
    return 2 * side**3 / seconds


def run_cell(
    suite: str, samples: int, kind: str = "pntk", threads: int = THREADS, patience: float = 10.0
) -> dict[str, Any]:
    import torch

    from benchmarks import kernel_cells
    from kernels import kernel_matrix, plan_kernel

    torch.set_num_threads(threads)
    model, inputs = kernel_cells.build(suite, samples)
    few = kernel_cells.first(inputs, 64)
    kernel_matrix(model, few, kind=kind, normalize=False)
    training_seconds(model, few, kind, rounds=1)
    plans = [plan_kernel(model, inputs, kind=kind, normalize=False)]
    rate = product_rate()
    result, cost = measured(lambda: kernel_matrix(model, inputs, kind=kind, normalize=False))
    seconds = float(cost["seconds"])

    def step() -> float:
        plans.append(plan_kernel(model, inputs, kind=kind, normalize=False))
        return training_seconds(model, inputs, kind, BATCH.get(suite, 64), rounds=1)

    def kernel() -> Any:
        return kernel_matrix(model, inputs, kind=kind, normalize=False)

    steps, again, turns = in_turns(step, kernel, most=20, seconds=patience) if seconds < 30 else (step(), seconds, 0)
    rate = max(rate, product_rate())
    limit = steps + plans[0].flops / rate
    return cost | {
        "first": seconds,
        "seconds": min(seconds, again),
        "turns": turns + 1,
        "rate": rate,
        "n": samples,
        "steps": steps,
        "limit": limit,
        "plan": min(plan.seconds for plan in plans),
        "first_plan": plans[0].seconds,
        "flop": plans[0].flops,
        "certified": str(result.metadata.get("certificate", {}).get("certify", "")),
    }


def growth(rows: list[dict[str, Any]], name: str = "seconds") -> list[float | None]:
    """Exponents of growth between neighboring sizes; None for the first and beside a cell that failed."""
    found: list[float | None] = [None]
    for before, after in zip(rows, rows[1:], strict=False):
        known = name in before and name in after
        found.append(math.log(after[name] / before[name]) / math.log(after["n"] / before["n"]) if known else None)
    return found


def table(suite: str, rows: list[dict[str, Any]]) -> str:
    lines = [
        f"\n{suite}, pntk",
        "",
        "| N | seconds | training steps | limit | times limit | plan | plan / seconds | first | exponent | peak MB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row, exponent in zip(rows, growth(rows), strict=True):
        if "failed" in row:
            lines.append(f"| {row['n']} | failed: {str(row['failed'])[:100]} | | | | | | | | |")
            continue
        cells = [
            f"{row['n']:,}",
            f"{row['seconds']:.3g}",
            f"{row['steps']:.3g} s",
            f"{row['limit']:.3g}",
            f"{row['seconds'] / row['limit']:.2f}",
            f"{row['plan']:.3g}",
            f"{row['plan'] / row['seconds']:.2f}",
            f"{row['first_plan'] / row['first']:.2f}" if "first" in row else "",
            "" if exponent is None else f"{exponent:.2f}",
            f"{row['peak_mb']:.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(found: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """One panel per network: measured seconds, limit and plan against N, with lines that grow as N and as N squared."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams["svg.hashsalt"] = "kernel growth"
    figure, panels = plt.subplots(1, len(found), figsize=(4.2 * len(found), 3.8), squeeze=False, layout="constrained")
    for panel, (suite, rows) in zip(panels[0], found.items(), strict=True):
        rows = [row for row in rows if "failed" not in row]
        if not rows:
            continue
        sizes = [row["n"] for row in rows]
        panel.plot(sizes, [row["seconds"] for row in rows], "o-", color="#1b6ca8", label="measured")
        panel.plot(sizes, [row["limit"] for row in rows], "s--", color="#c0392b", label="limit")
        panel.plot(sizes, [row["plan"] for row in rows], "x", color="#222222", label="plan", zorder=3)
        low = rows[0]["limit"] / 2
        for power, style in ((1, ":"), (2, "-.")):
            guide = [low * (size / sizes[0]) ** power for size in sizes]
            panel.plot(sizes, guide, style, color="#999999", linewidth=1, label=f"grows as N^{power}")
        panel.set(xscale="log", yscale="log", title=suite, xlabel="samples N", ylabel="seconds")
        panel.set_xticks(sizes, [f"{size:,}" for size in sizes])
        panel.minorticks_off()
    panels[0][0].legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cell", help="SUITE:N, in this process")
    parser.add_argument("--suites", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--sizes", nargs="+", type=int, help="other N than the suite's")
    parser.add_argument("--cpu-time", action="store_true", help="one thread, and the CPU seconds of the process")
    parser.add_argument("--picture", type=Path, help="write an .svg or .png")
    parser.add_argument("--rows", type=Path, help="keep the numbers in this .json file; what it holds is drawn too")
    options = parser.parse_args()
    if options.cell:
        suite, samples = options.cell.split(":")
        if options.cpu_time:
            time.perf_counter = time.process_time
        print(json.dumps(run_cell(suite, int(samples), threads=1 if options.cpu_time else THREADS)))
        return
    found: dict[str, list[dict[str, Any]]] = {}
    for suite in options.suites:
        found[suite] = []
        for samples in options.sizes or SIZES[suite]:
            arguments = ["--cell", f"{suite}:{samples}", *(["--cpu-time"] if options.cpu_time else [])]
            row = run_process(sys.executable, "benchmarks.kernel_growth", arguments, None, LIMIT)
            found[suite].append({"n": samples} | row)
            print(json.dumps(found[suite][-1]), file=sys.stderr, flush=True)
        print(table(suite, found[suite]), flush=True)
    if options.rows:
        kept = json.loads(options.rows.read_text(encoding="utf-8")) if options.rows.exists() else {}
        found = kept | found
        options.rows.write_text(json.dumps(found, indent=1), encoding="utf-8")
    if options.picture:
        draw(found, options.picture)


if __name__ == "__main__":
    main()
