"""Products with a kernel that is not formed, against forming it and SciPy's eigsh on the matrix.

    python -m benchmarks.operator                 all suites, some two minutes on two cores that do nothing else
    python -m benchmarks.operator --suite lstm --sizes 64 128    one of mlp, gpt2, lstm; other N than the suite's
    python -m benchmarks.operator --cpu-time                     CPU seconds of one thread: the machine is not quiet

Five eigenvalues of a pNTK to 1e-3 of the largest, in float32, on inputs in ten clusters: the operator's Lanczos; the
engine's matrix, then eigsh on it. The last columns say from which N the operator is faster, measured and as its plan
says beforehand, and up to which N a matrix fits memory. Costs are continued from the two largest sizes: the operator's
linearly, the matrix's as a N + b N^2.
"""

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import eigsh
from torch import Tensor, nn

from benchmarks import kernel_cells
from kernels import KernelOperator, kernel_matrix
from kernels.machine.memory import available_memory

COUNT, TOLERANCE = 5, 1e-3


class LastState(nn.Module):
    """One LSTM layer of 128 units over 32 steps, logits from its last output."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(32, 128, batch_first=True), nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])


@dataclass(frozen=True)
class Suite:
    about: str
    sizes: tuple[int, ...]
    build: Callable[[int], tuple[nn.Module, Any]]


def lstm(samples: int) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return LastState().eval(), clustered(torch.randn(samples, 32, 32))


def mlp(samples: int) -> tuple[nn.Module, Tensor]:
    model, inputs = kernel_cells.build("mlp", samples)
    assert isinstance(inputs, Tensor)
    return model, clustered(inputs)


def clustered(noise: Tensor) -> Tensor:
    """Inputs around ten centers, as labeled data have them; the spectrum of pure noise is flat."""
    return noise + torch.randn(10, *noise.shape[1:])[torch.arange(len(noise)) % 10]


SUITES = {
    "mlp": Suite("MLP 784-512-512-10", (1024, 2048), mlp),
    "gpt2": Suite("GPT-2, 2 layers, d=128, 64 tokens", (48, 96), lambda n: kernel_cells.build("gpt2", n)),
    "lstm": Suite("LSTM 32-128, 32 steps", (128, 256), lstm),
}


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    found = work()
    return found, time.perf_counter() - start


def measure(suite: Suite, samples: int) -> dict[str, float]:
    model, inputs = suite.build(samples)
    kernel_matrix(model, kernel_cells.first(inputs, 4), kind="pntk")  # first-call costs are not the kernel's
    op = KernelOperator(model, inputs, kind="pntk")
    plan = op.plan()
    v = np.random.default_rng(0).standard_normal(samples)
    op @ v  # keeps the passes, where they fit
    _, product = timed(lambda: op @ v)
    found, ours = timed(lambda: op.eigenvalues(COUNT, tolerance=TOLERANCE))
    gram, forming = timed(lambda: kernel_matrix(model, inputs, kind="pntk", normalize=False).matrix.double().numpy())
    theirs, solving = timed(lambda: eigsh(gram, k=COUNT, tol=TOLERANCE, return_eigenvectors=False)[::-1])
    return {
        "n": samples,
        "product": product,
        "planned": plan.product_seconds,
        "products": found.products,
        "ours": ours,
        "forming": forming,
        "solving": solving,
        "difference": float(np.abs(found.values - theirs).max() / theirs[0]),
        "bound": float(found.errors.max() / theirs[0]),
        "wins_by_plan": plan.wins_from(found.products) or 0,
    }


def wins_from(rows: list[dict[str, float]]) -> float:
    """N at which a line through the operator's last time meets a N + b N^2 through the matrix's last two."""
    first, last = rows[-2], rows[-1]
    slope = last["ours"] / last["n"]
    costs = [row["forming"] + row["solving"] for row in (first, last)]
    b = (costs[1] / last["n"] - costs[0] / first["n"]) / (last["n"] - first["n"])
    a = costs[1] / last["n"] - b * last["n"]
    return (slope - a) / b if b > 0 else math.inf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", choices=SUITES)
    parser.add_argument("--sizes", nargs="+", type=int, help="numbers of samples, at least two")
    parser.add_argument("--cpu-time", action="store_true", help="CPU seconds of one thread")
    options = parser.parse_args()
    if options.sizes and len(options.sizes) < 2:
        parser.error("--sizes needs two numbers of samples: costs are continued from them")
    if options.cpu_time:
        time.perf_counter = time.process_time
    torch.set_num_threads(1 if options.cpu_time else 2)
    fits = math.sqrt(0.9 * available_memory() / 4)
    print("| suite | N | product: plan, s | products | operator, s | matrix + eigsh, s | largest difference, bound |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    ends = []
    for name in [options.suite] if options.suite else SUITES:
        suite = SUITES[name]
        rows = []
        for samples in options.sizes or suite.sizes:
            rows.append(row := measure(suite, samples))
            print(
                f"| {suite.about} | {row['n']} | {row['product']:.3g}: {row['planned']:.3g} | {row['products']} | "
                f"{row['ours']:.3g} | {row['forming']:.3g} + {row['solving']:.3g} | {row['difference']:.1e}, "
                f"{row['bound']:.1e} |",
                flush=True,
            )
        ends.append((suite.about, wins_from(rows), rows[-1]["wins_by_plan"]))
    print("\n| suite | faster from N, measured | by the plan | a matrix fits this machine up to N |")
    print("| --- | --- | --- | --- |")
    for about, measured, planned in ends:
        print(f"| {about} | {measured:.3g} | {planned:.3g} | {fits:.3g} |")


if __name__ == "__main__":
    main()
