"""Scale of exact trimming levels, and their ratio to a straightforward grid search for each pair.

python benchmarks/trimming.py models      1,000 models x 10,000 examples, leave-one-out, three references
python benchmarks/trimming.py examples    100 models x 1,000,000 examples, leave-one-out mixture, peak memory
python benchmarks/trimming.py ratio       exact levels of 1,000 models against a grid search for a few of them
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np
import torch

from analysis.trimming.references import REFERENCES, consensus_levels
from analysis.trimming.released import GRID
from analysis.trimming.thresholds import dkw_threshold


def gaps_of(models: int, examples: int, seed: int = 0) -> np.ndarray:
    """Float32 gaps of runs that share a signal and differ by noise, shift and scale, as trained networks do."""
    rng = np.random.default_rng(seed)
    signal = 3 * rng.standard_normal(examples, dtype=np.float32)
    gaps = rng.standard_normal((models, examples), dtype=np.float32)
    gaps *= 0.8
    gaps += signal
    gaps *= np.exp(0.15 * rng.standard_normal((models, 1), dtype=np.float32))
    gaps += 0.3 * rng.standard_normal((models, 1), dtype=np.float32)
    return gaps


def grid_search(gaps: np.ndarray, run: int, delta: float) -> float:
    """Level of one pair the straightforward way: pool and sort the others, then try one share after another."""
    reference = np.sort(np.delete(gaps, run, axis=0), axis=None)
    x = np.sort(gaps[run])
    mass = np.arange(len(x) + 1) / len(x)
    lo = np.r_[0.0, np.searchsorted(reference, x, side="right") / reference.size]
    hi = np.r_[np.searchsorted(reference, x, side="left") / reference.size, 1.0]
    tied = np.r_[False, x[1:] == x[:-1], False]
    lo[tied], hi[tied] = np.inf, -np.inf
    for alpha in GRID:
        s = 1 / (1 - alpha)
        upper, lower = hi - s * mass, lo - s * mass
        least = np.minimum.accumulate(lower)
        if max(upper.max(), 1 - s - least[-1], (upper - least).max() / 2) <= delta:
            return alpha
    return 0.5


def timed(run: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    found = run()
    return time.perf_counter() - start, found


def peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def models(count: int, examples: int) -> None:
    gaps = gaps_of(count, examples)
    delta = dkw_threshold(examples, examples)
    total = 0.0
    for kind in REFERENCES:
        seconds, found = timed(lambda kind=kind: consensus_levels(gaps, deltas=[delta], kinds=[kind]))
        total += seconds
        level = found.level(kind, delta)
        print(f"| {kind} | {seconds:.1f} s | {level.mean():.4f} | {(level > 0).mean():.2f} |")
    print(f"| all three | {total:.1f} s | | |   peak memory {peak_gib():.2f} GiB")


def examples(count: int, size: int, memory: int) -> None:
    seconds, gaps = timed(lambda: gaps_of(count, size))
    print(f"data made in {seconds:.1f} s, peak so far {peak_gib():.2f} GiB")
    delta = dkw_threshold(size, size)
    seconds, found = timed(lambda: consensus_levels(gaps, deltas=[delta], kinds=["mixture"], memory=memory))
    print(f"| mixture, leave-one-out | {seconds:.1f} s | mean level {found.level('mixture', delta).mean():.4f} |")
    print(f"peak memory {peak_gib():.2f} GiB")


def ratio(count: int, size: int, pairs: int) -> None:
    gaps = gaps_of(count, size)
    delta = dkw_threshold(size, size)
    exact_seconds, found = timed(lambda: consensus_levels(gaps, deltas=[delta], kinds=["mixture"]))
    grid_seconds, rounded = timed(lambda: [grid_search(gaps, run, delta) for run in range(pairs)])
    exact = found.level("mixture", delta)[:pairs]
    per_exact, per_grid = exact_seconds / count, grid_seconds / pairs
    print(f"| exact, batched | {1e3 * per_exact:.2f} ms a model | {exact_seconds:.1f} s for all |")
    print(f"| grid of {len(GRID)} | {1e3 * per_grid:.1f} ms a model | {per_grid * count:.0f} s extrapolated |")
    print(f"| ratio | {per_grid / per_exact:.0f} | grid rounds levels up by {(np.array(rounded) - exact).mean():.4f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question", choices=["models", "examples", "ratio"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--models", type=int)
    parser.add_argument("--examples", type=int)
    parser.add_argument("--memory", type=int, default=2**28, help="work arrays of the solver, bytes")
    parser.add_argument("--pairs", type=int, default=5)
    settings = parser.parse_args()
    torch.set_num_threads(settings.threads)
    if settings.question == "models":
        models(settings.models or 1000, settings.examples or 10_000)
    elif settings.question == "examples":
        examples(settings.models or 100, settings.examples or 1_000_000, settings.memory)
    else:
        ratio(settings.models or 1000, settings.examples or 10_000, settings.pairs)
