"""Each layer between seeds: means over pairs of runs with intervals, by rotations and by neighbors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from jaxtyping import Float

from analysis.comparison.layer_measures import (
    MeasureRow,
    PairedProducts,
    factor_of,
    nearest_neighbors,
    rotation_share,
    shared_neighbors,
)
from analysis.comparison.layer_result import LayerRow
from analysis.resampling import jackknife_interval


def compare_same_layers(
    layers: Sequence[str],
    read_layer: Callable[[int, str, int, int], Float[np.ndarray, "b d"]],
    runs: int,
    examples: int,
    limits: tuple[int, int, int],
    measures: Sequence[str],
) -> tuple[list[MeasureRow], int]:
    """Compare each layer between every two runs by the further measures; layer by layer, and pair by pair.

    Parameters
    ----------
    layers : sequence of str
        Names.
    read_layer : callable
        Gives the features of run, layer, examples start to stop; called often.
    runs, examples : int
        Numbers of these.
    limits : tuple of int
        Examples read at a time, bytes of memory, nearest neighbors.
    measures : sequence of str
        Of ``MEASURES``, without "cka".

    Returns
    -------
    list of MeasureRow, and int
        The rows, and bytes that they took at most.
    """
    batch, memory, count = limits
    block, found, used = min(batch, examples), [], 0
    for layer in layers:
        read = partial(_of_layer, read_layer, layer)
        if "procrustes" in measures:
            value, chance, bytes_ = _procrustes(layer, read, runs, examples, block, memory)
            found.append(measured(layer, "procrustes", value, chance))
            used = max(used, bytes_)
        if "neighbors" in measures:
            if count >= examples:
                raise ValueError(f"neighbors={count} must be less than the {examples} examples.")
            wide = max(read(run, 0, 1).shape[1] for run in range(runs))
            bytes_ = 8 * (2 * block * examples + 3 * block * wide + runs * examples * count)
            if bytes_ > memory:
                raise ValueError(
                    f"The neighbors of {layer!r} take {bytes_ / 2**20:,.0f} MiB, memory={memory} is less: raise "
                    "memory=, or lower batch=."
                )
            near = [nearest_neighbors(partial(read, run), examples, count, block) for run in range(runs)]
            shared = np.array([[shared_neighbors(one, other) for other in near] for one in near])
            found.append(measured(layer, "neighbors", shared, np.full_like(shared, count / (examples - 1))))
            used = max(used, bytes_)
    return found, used


def _procrustes(
    layer: str, read: Callable[[int, int, int], np.ndarray], runs: int, examples: int, block: int, memory: int
) -> tuple[Float[np.ndarray, "r r"], Float[np.ndarray, "r r"], int]:
    """Similarity after the best rotation of every two runs, by chance, and the memory that it took."""
    widths = [read(run, 0, 1).shape[1] for run in range(runs)]
    pairs = [(a, b) for a in range(runs) for b in range(a + 1, runs)]
    sums = max(PairedProducts.bytes([widths[a], widths[b]], [(0, 1)]) for a, b in pairs)
    grams = 8 * 8 * examples**2
    used = min(sums, grams)
    if used > memory:
        raise ValueError(
            f"The Procrustes similarity of {layer!r} takes {used / 2**20:,.0f} MiB, memory={memory} is less: raise "
            "memory=, pool its features, or leave 'procrustes' out of measures."
        )
    shares = np.empty((len(pairs), 2))
    for place, (a, b) in enumerate(pairs):
        if sums <= grams:
            products = PairedProducts([widths[a], widths[b]], [(0, 1)])
            for start in range(0, examples, block):
                stop = min(start + block, examples)
                products.add([read(a, start, stop), read(b, start, stop)])
            shares[place] = products.shares()[0]
            continue
        left, right = (factor_of(partial(read, run), examples, block) for run in (a, b))
        norms = float((left**2).sum()), float((right**2).sum())
        shares[place, 0] = rotation_share(left.T @ right, *norms)
        shares[place, 1] = rotation_share(left.T @ np.roll(right, 1, axis=0), *norms)
    return *matrices(shares, runs), used


def matrices(shares: Float[np.ndarray, "p 2"], runs: int) -> tuple[Float[np.ndarray, "r r"], Float[np.ndarray, "r r"]]:
    """Spread the values of pairs of runs over two symmetric matrices, with 1 on the diagonal of the first."""
    found = np.stack([np.eye(runs), np.eye(runs)])
    first, second = np.triu_indices(runs, 1)
    found[:, first, second] = found[:, second, first] = shares.T
    return found[0], found[1]


def measured(layer: str, measure: str, both: Float[np.ndarray, "r r"], chance: Float[np.ndarray, "r r"]) -> MeasureRow:
    """Average one layer over pairs of runs by a further measure, beside its value by chance."""
    row = mean_row(layer, layer, "seeds", both, pairs=True)
    by_chance = float(chance[~np.eye(len(chance), dtype=bool)].mean())
    return MeasureRow(
        layer=layer,
        measure=measure,
        value=row["value"],
        low=row["low"],
        high=row["high"],
        chance=by_chance,
        runs=row["runs"],
    )


def _of_layer(
    read: Callable[[int, str, int, int], Float[np.ndarray, "b d"]], layer: str, run: int, start: int, stop: int
) -> Float[np.ndarray, "b d"]:
    return read(run, layer, start, stop)


def mean_row(first: str, second: str, between: str, both: Float[np.ndarray, "r r"], *, pairs: bool) -> LayerRow:
    """Average values of two layers over runs, or over pairs of different ones, with a jackknife's interval."""
    runs = len(both)

    def mean(kept: np.ndarray) -> float:
        part = both[np.ix_(kept, kept)]
        return float(part[~np.eye(len(kept), dtype=bool)].mean() if pairs else np.diag(part).mean())

    everyone = np.arange(runs)
    value, low, high = mean(everyone), float("nan"), float("nan")
    if runs > 2 and np.isfinite(value):
        found = jackknife_interval(value, np.array([mean(np.delete(everyone, i)) for i in everyone]), low=-1, high=1)
        if found.standard_error > 1e-12:
            low, high = float(found.low), float(found.high)
    return LayerRow(layer=first, other=second, between=between, value=value, low=low, high=high, runs=runs)
