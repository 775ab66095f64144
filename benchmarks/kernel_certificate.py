"""What the certificate costs: seconds of a kernel with ``certify`` "off", "sampled" and "every".

    python -m benchmarks.kernels --certificate [--suites mlp gpt2] [--kinds pntk trntk]

The three modes take turns, and what a mode adds is the median over the turns of its time beside that of the same turn
without: where a processor is now faster and now slower, smallest times are of different moments. The matrices must be
equal bit for bit.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any

MODES = ("off", "sampled", "every")
SECONDS = 20.0
TURNS = 15


def row(suite: str, kind: str, samples: int | None) -> str:
    """One line of the table: seconds without, share of the time that either mode adds, and what was found."""
    import torch

    from benchmarks import kernel_cells
    from kernels import kernel_matrix

    model, inputs = kernel_cells.build(suite, samples)
    seconds: dict[str, list[float]] = {mode: [] for mode in MODES}
    found: dict[str, Any] = {}
    begun = time.perf_counter()
    for turn in range(TURNS):
        for mode in MODES:
            start = time.perf_counter()
            found[mode] = kernel_matrix(model, inputs, kind=kind, certify=mode)
            seconds[mode].append(time.perf_counter() - start)
        if turn and time.perf_counter() - begun > SECONDS:
            break
    if not all(torch.equal(found["off"].matrix, found[mode].matrix) for mode in MODES):
        raise RuntimeError(f"{suite} {kind}: the certificate changes the kernel")
    pairs = {mode: zip(seconds[mode], seconds["off"], strict=True) for mode in MODES[1:]}
    shares = [f"{100 * (median(with_it / off for with_it, off in both) - 1):.1f} %" for both in pairs.values()]
    seen = found["sampled"].metadata["certificate"]
    checked = f"{seen['passes_checked']} of {seen['passes']}, {seen['patterns_checked']} patterns"
    size = f"{kernel_cells.count(inputs)}"
    cells = [suite, kind, size, f"{median(seconds['off']):.3g}", *shares, checked, f"{seen['largest_difference']:.0e}"]
    return "| " + " | ".join(cells) + " |"


def table(suites: list[str], kinds: list[str], samples: int | None) -> None:
    """Print the table."""
    print("| suite | kind | N | seconds | sampled adds | every adds | passes checked | largest difference |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for suite in suites:
        for kind in kinds:
            print(row(suite, kind, samples), flush=True)
