"""Where the time of an exact kernel goes: milliseconds of its parts, beside one training step of the same batch.

    python -m benchmarks.kernel_parts [--suites mlp gpt2 resnet18] [--kind pntk] [--cpu-time]

Step and kernel take turns; the parts are means over the fastest third of the turns, with two threads unless
``--cpu-time`` says CPU seconds of one. "Rest" is what belongs to no part: loans of the model, samples, settings.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pkgutil import resolve_name
from typing import Any
from unittest.mock import patch

from benchmarks.kernels import KINDS, THREADS, training_seconds

PARTS = {
    "rules settled on three samples": "kernels.capture.settling.Settling.settle",
    "plan": "kernels.contraction.job.lay_out",
    "digests of weights and data": "kernels.contraction.job._fingerprint",
    "forward pass": "kernels.capture.capture.Capture.traced",
    "backward pass": "kernels.capture.pullback.OpenPass.blocks",
    "certificate": "kernels.capture.capture.Capture.certify",
    "factors kept": "kernels.contraction.assembly.Assembly._keep",
    "contraction": "kernels.contraction.assembly.Assembly._tile",
    "division, diagonals": "kernels.gram.finish_in_memory",
}
INSIDE = {"certificate": "backward pass"}
"""Parts that lie within another one, from which their time is taken."""


@contextmanager
def timed() -> Iterator[dict[str, float]]:
    """Add up the seconds of every part while the block runs."""
    spent = dict.fromkeys(PARTS, 0.0)

    def watched(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                spent[part] += time.perf_counter() - start

        return call

    patches = []
    try:
        for part, place in PARTS.items():
            patches.append(patch(place, watched(part, resolve_name(place))))
            patches[-1].start()
        yield spent
    finally:
        for one in reversed(patches):
            one.stop()


def parts(suite: str, kind: str, threads: int, seconds: float = 15.0, most: int = 60) -> tuple[float, dict[str, float]]:
    """Seconds of a training step, and of the kernel ("whole") and its parts."""
    import torch

    from benchmarks import kernel_cells
    from kernels import kernel_matrix

    torch.set_num_threads(threads)
    model, inputs = kernel_cells.build(suite, None)
    kernel_matrix(model, inputs, kind=kind)
    steps: list[float] = []
    turns: list[dict[str, float]] = []
    begun = time.perf_counter()
    while len(turns) < 3 or time.perf_counter() - begun < seconds and len(turns) < most:
        steps.append(training_seconds(model, inputs, kind, rounds=1))
        with timed() as spent:
            start = time.perf_counter()
            kernel_matrix(model, inputs, kind=kind)
            whole = time.perf_counter() - start
        for inner, outer in INSIDE.items():
            spent[outer] -= spent[inner]
        turns.append({"whole": whole, **spent, "rest": whole - sum(spent.values())})
    fastest = sorted(turns, key=lambda one: one["whole"])[: max(1, len(turns) // 3)]
    return min(steps), {name: sum(one[name] for one in fastest) / len(fastest) for name in turns[0]}


def table(suites: list[str], kind: str, threads: int, **how: float) -> str:
    """One column per network, in milliseconds and (training steps)."""
    found = {suite: parts(suite, kind, threads, **how) for suite in suites}
    lines = ["| part | " + " | ".join(suites) + " |", "| --- |" + " --- |" * len(suites)]
    lines.append("| training step | " + " | ".join(f"{1e3 * step:.3g}" for step, _ in found.values()) + " |")
    for part in ("whole", *PARTS, "rest"):
        cells = [f"{1e3 * own[part]:.3g} ({own[part] / step:.2f})" for step, own in found.values()]
        lines.append(f"| {part} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suites", nargs="+", default=["mlp", "gpt2", "resnet18"])
    parser.add_argument("--kind", default="pntk", choices=list(KINDS))
    parser.add_argument("--cpu-time", action="store_true", help="CPU seconds of one thread")
    options = parser.parse_args()
    if options.cpu_time:
        time.perf_counter = time.process_time
    print(table(options.suites, options.kind, 1 if options.cpu_time else THREADS))


if __name__ == "__main__":
    main()
