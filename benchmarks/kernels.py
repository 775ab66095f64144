"""Exact kernels: time, memory and error of this project's engine and of what a user would pick instead.

    python -m benchmarks.kernels --all [--python PEERS_PYTHON] [--suites mlp gpt2] [--kinds pntk trntk]
    python -m benchmarks.kernels --cell mlp:trntk:ours
    python -m benchmarks.kernels --certificate [--cpu-time]

Every cell is a separate process with two threads. The unit that holds on any machine is one training step, measured in
the same process: forward and backward of the same samples (one backward per class for trntk), without a Gram. Step and
kernel take turns, at least three where that takes less than a minute, and the smallest time of each counts: what else
the machine does only adds. Peak memory is the high-water mark of resident memory in the first turn, above what the
process held once everything was imported and the model built. The error is the largest entry error against a float64
kernel of six samples, in units of sqrt(K_ii K_jj).
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

THREADS = 2
LIMIT = 400  # seconds that one cell may take
KINDS = ("pntk", "trntk")
STEP = "training_step"
IMPORTS = {
    "ours": ["kernels.gram"],
    "opacus": ["opacus"],
    "asdl": ["asdl.kernel"],
    "asdl_hadamard": ["asdl.kernel"],
    "nngeometry": ["nngeometry"],
    "trak": ["trak.gradient_computers"],
    "dattri": ["dattri.algorithm.tracin", "dattri.task"],
    "dattri_llm": ["dattri_llm"],
    "kronfluence": ["kronfluence.analyzer"],
}


def resident(field: str) -> int:
    """Bytes of VmRSS (now) or VmHWM (highest since the mark was reset)."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {field} in /proc/self/status")


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def run_cell(suite: str, kind: str, engine: str, samples: int | None, threads: int = THREADS) -> dict[str, object]:
    import torch

    from benchmarks import kernel_cells, kernel_engines

    torch.set_num_threads(threads)
    warnings.simplefilter("ignore")
    for module in IMPORTS.get(engine, []):
        importlib.import_module(module)
    model, inputs = kernel_cells.build(suite, samples)
    step = training_seconds(model, inputs, kind, rounds=2)
    if engine == STEP:
        return {"seconds": step, "peak_mb": float("nan"), "error": float("nan"), "steps": 1.0, "version": ""}
    function = kernel_engines.ENGINES[engine]
    function(model, kernel_cells.first(inputs, 2), kind)  # first-call costs are not the kernel's
    found, cost = measured(lambda: function(model, inputs, kind))
    step, seconds, turns = in_turns(
        lambda: training_seconds(model, inputs, kind, rounds=1), lambda: function(model, inputs, kind)
    )
    cost |= {"first": cost["seconds"], "seconds": min(seconds, float(cost["seconds"])), "turns": turns}
    count = kernel_cells.count(inputs)
    if found.shape != (count, count):
        raise RuntimeError(f"result has shape {tuple(found.shape)}")
    found = found.detach().clone()
    expected = kernel_cells.truth(model, inputs, kind)
    return cost | {
        "error": kernel_cells.largest_error(found, expected),
        "version": kernel_engines.version(engine),
        "n": count,
        "steps": float(cost["seconds"]) / step,
    }


def in_turns(
    unit: Callable[[], float], work: Callable[[], Any], least: int = 3, most: int = 40, seconds: float = 20.0
) -> tuple[float, float, int]:
    """Smallest seconds of a unit, which times itself, and of some work, and how many turns were taken."""
    units, works = [], []
    begun = time.perf_counter()
    while len(works) < most:
        units.append(unit())
        start = time.perf_counter()
        work()
        works.append(time.perf_counter() - start)
        spent = time.perf_counter() - begun
        if spent > seconds and (len(works) >= least or spent > 3 * seconds):
            break
    return min(units), min(works), len(works)


def training_seconds(model: Any, inputs: Any, kind: str, batch: int = 512, rounds: int = 3) -> float:
    """Seconds of the forward and backward passes of all samples, the fastest of a few rounds."""
    from benchmarks import kernel_cells

    count, least = kernel_cells.count(inputs), float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        for first in range(0, count, batch):
            part = kernel_cells.part(inputs, slice(first, first + batch))
            logits = kernel_cells.call(model, part)
            sums = [logits.sum()] if kind == "pntk" else list(logits.sum(0))
            for index, value in enumerate(sums):
                value.backward(retain_graph=index + 1 < len(sums))
            model.zero_grad()
        least = min(least, time.perf_counter() - start)
    return least


def measured(work: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    """What the work gives, its seconds, and its peak memory above what the process held."""
    reset_peak()
    before, start = resident("VmRSS"), time.perf_counter()
    found = work()
    # The counters of a process are brought up to date now and then: a small peak may seem to be below what was held.
    seconds, peak = time.perf_counter() - start, max(0, resident("VmHWM") - before)
    return found, {"seconds": seconds, "peak_mb": peak / 2**20}


def run_process(
    python: str, module: str, arguments: list[str], samples: int | None, limit: float = LIMIT
) -> dict[str, Any]:
    """What one cell printed, run in a process of its own for at most ``limit`` seconds."""
    command = [python, "-m", module, *arguments]
    if samples:
        command += ["--samples", str(samples)]
    environment = os.environ | {"OMP_NUM_THREADS": str(THREADS), "HF_HUB_OFFLINE": "1"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=limit)
    except subprocess.TimeoutExpired:
        return {"failed": f"no result in {limit:.0f} s"}
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return {"failed": lines[-1] if lines else f"exit {done.returncode}"}


def table(title: str, rows: dict[str, dict[str, Any]], base: str, error: str = "largest error") -> str:
    """Show what the cells printed, with times in units of the base's."""
    unit = rows.get(base, {}).get("seconds")
    lines = [
        f"\n{title}, N={rows.get(base, {}).get('n', '?')}",
        "",
        f"| engine | seconds | training steps | times {base} | peak MB | {error} |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for engine, row in rows.items():
        name = f"{engine} {row.get('version', '')}".strip()
        if "failed" in row:
            lines.append(f"| {name} | failed: {str(row['failed'])[:110]} | | | | |")
            continue
        ratio = f"{row['seconds'] / unit:.1f}" if unit else ""
        steps = f"{row['steps']:.2f}" if "steps" in row else ""
        cells = [name, f"{row['seconds']:.3g}", steps, ratio, f"{row['peak_mb']:.0f}", f"{row['error']:.2g}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    from benchmarks.kernel_cells import SUITES
    from benchmarks.kernel_engines import ENGINES

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cell", help="SUITE:KIND:ENGINE, in this process")
    parser.add_argument("--all", action="store_true", help="every cell, each in its own process")
    parser.add_argument("--certificate", action="store_true", help="what checking passes adds to our own time")
    parser.add_argument("--samples", type=int, help="other N than the suite's")
    parser.add_argument("--suites", nargs="+", default=list(SUITES), choices=list(SUITES))
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--engines", nargs="+", default=[STEP, *ENGINES], choices=[STEP, *ENGINES])
    parser.add_argument(
        "--cpu-time", action="store_true", help="with --cell or --certificate: CPU seconds of one thread"
    )
    parser.add_argument("--python", default=sys.executable, help="interpreter of the peers' environment")
    options = parser.parse_args()
    if options.cpu_time:
        time.perf_counter = time.process_time
    if options.cell:
        print(json.dumps(run_cell(*options.cell.split(":"), options.samples, 1 if options.cpu_time else THREADS)))
        return
    if options.certificate:
        import torch

        from benchmarks.kernel_certificate import table as certificate_table

        torch.set_num_threads(1 if options.cpu_time else THREADS)
        certificate_table(options.suites, options.kinds, options.samples)
        return
    if not options.all:
        parser.error("choose --cell, --certificate or --all")
    for suite in options.suites:
        for kind in options.kinds:
            rows = {}
            for engine in options.engines:
                arguments = ["--cell", f"{suite}:{kind}:{engine}"]
                rows[engine] = run_process(options.python, "benchmarks.kernels", arguments, options.samples)
            print(table(f"{SUITES[suite].about}, {kind}", rows, "ours"), flush=True)


if __name__ == "__main__":
    main()
