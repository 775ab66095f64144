"""Time and memory of every route to the NTK of an MLP over a grid of widths and sample counts (arXiv 2205.12372).

    python -m benchmarks.torchntk_grid [--widths 64 256 1024] [--samples 64 256 1024] [--kind pntk]
    python -m benchmarks.torchntk_grid --cell WIDTH:SAMPLES:KIND:ENGINE

Three hidden layers on 784 inputs. Every cell is a separate process with two threads, measured as in
`benchmarks.kernels`; a cell that does not end within the limit is shown as such.
"""

from __future__ import annotations

import argparse
import json
import sys

import torch
from torch import nn

from benchmarks import kernel_cells
from benchmarks.kernels import run_cell, run_process

ENGINES = ("ours", "torch_func", "per_sample_loop")
LIMIT = 120


def suite(width: int, outputs: int) -> kernel_cells.Suite:
    def model() -> nn.Module:
        sizes = (784, width, width, width)
        hidden = [
            part
            for fan_in, fan_out in zip(sizes, sizes[1:], strict=False)
            for part in (nn.Linear(fan_in, fan_out), nn.Tanh())
        ]
        return nn.Sequential(*hidden, nn.Linear(width, outputs))

    return kernel_cells.Suite(f"MLP of width {width}", 64, model, lambda n: torch.randn(n, 784))


def cell(spec: str) -> dict[str, object]:
    width, samples, kind, engine = spec.split(":")
    kernel_cells.SUITES["grid"] = suite(int(width), 1 if kind == "pntk" else 10)
    return run_cell("grid", kind, engine, int(samples))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cell", help="WIDTH:SAMPLES:KIND:ENGINE, in this process")
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--samples", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--kind", default="pntk", choices=["pntk", "trntk"])
    options = parser.parse_args()
    if options.cell:
        print(json.dumps(cell(options.cell)))
        return
    print("| width | N | engine | seconds | times ours | peak MB | largest error |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for width in options.widths:
        for samples in options.samples:
            rows = {}
            for engine in ENGINES:
                arguments = ["--cell", f"{width}:{samples}:{options.kind}:{engine}"]
                rows[engine] = run_process(sys.executable, "benchmarks.torchntk_grid", arguments, None, LIMIT)
            base = rows["ours"].get("seconds")
            for engine, row in rows.items():
                if "failed" in row:
                    print(f"| {width} | {samples} | {engine} | {str(row['failed'])[:80]} | | | |", flush=True)
                    continue
                ratio = f"{row['seconds'] / base:.0f}" if base else ""
                print(
                    f"| {width} | {samples} | {engine} | {row['seconds']:.3g} | {ratio} | {row['peak_mb']:.0f} "
                    f"| {row['error']:.1e} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
