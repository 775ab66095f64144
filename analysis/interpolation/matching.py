"""Which unit of one network plays the part of which unit of another: by their weights, or by what they do on data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from analysis.checks import check_finite
from kernels.arguments import checked_arguments
from kernels.arrays import as_array

Axes = Mapping[str, Sequence[tuple[int, str]]]
"""For each array: which axis is in the order of which group of units."""
SWEEPS = 100
"""Most rounds over all groups; a round without a gain ends sooner."""


@checked_arguments
def match_weights(
    first: Mapping[str, Any],
    second: Mapping[str, Any],
    axes: Axes,
    sizes: Mapping[str, int],
    seed: int = 0,
) -> dict[str, Int[np.ndarray, " u"]]:
    """Find orders of the second network's units that bring its weights closest to the first's.

    Group by group, in random order, the assignment problem for one group is solved exactly while the others stay, which
    never lowers the inner product of all weights; a round without a gain ends it. It is done from two starts, and the
    better one counts: the units as they stand, and a pass from the first group to the last over the weights whose other
    axes are known already, which finds the orders of a network that is the first one permuted.

    Parameters
    ----------
    first, second : mapping of str to array or tensor
        Weights under the same names, trained ones alone.
    axes : mapping
        See ``Axes``, and :class:`models.unit_groups.UnitGroups`. What is in neither network, such as running
        statistics, takes no part.
    sizes : mapping of str to int
        Units of each group, in the order of the network.
    seed : int
        Of the order of the groups.

    Returns
    -------
    dict of str to ndarray of int
        For each group, which unit of the second network takes each place.

    Raises
    ------
    ValueError
        If the networks have other weights or shapes, the axes and sizes do not describe them, or a weight is not
        finite.

    References
    ----------
    Ainsworth, Hayase and Srinivasa (2023), arXiv:2209.04836, algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.interpolation import match_weights
    >>> weight = np.random.default_rng(0).standard_normal((4, 3))
    >>> order = np.array([2, 0, 3, 1])
    >>> found = match_weights({"w": weight[order]}, {"w": weight}, {"w": [(0, "units")]}, {"units": 4})
    >>> found["units"].tolist()
    [2, 0, 3, 1]
    """
    first, second = _arrays(first, "first"), _arrays(second, "second")
    axes = {name: found for name, found in axes.items() if name in first or name in second}
    _require_alike(first, second, axes, sizes)
    uses = {
        group: [(name, axis) for name, found in axes.items() for axis, one in found if one == group] for group in sizes
    }

    def gains(group: str, orders: Mapping[str, np.ndarray], entries: Sequence[tuple[str, int]]) -> np.ndarray:
        """Inner product of what each unit of the first has with what each of the second has."""
        others = {one: order for one, order in orders.items() if one != group}
        total = np.zeros((sizes[group], sizes[group]))
        for name, axis in entries:
            moved = _in_order(second[name], axes[name], others)
            total += _rows(first[name], axis, sizes[group]) @ _rows(moved, axis, sizes[group]).T
        return total

    forward: dict[str, np.ndarray] = {}
    for group in sizes:
        known = [use for use in uses[group] if all(one in forward or one == group for _, one in axes[use[0]])]
        forward[group] = _assigned(gains(group, forward, known))
    best, most = forward, -np.inf
    for start in ({group: np.arange(size) for group, size in sizes.items()}, forward):
        orders = _climbed(dict(start), lambda group, now: gains(group, now, uses[group]), seed)
        alike = sum(
            float((values * _in_order(second[name], axes.get(name, ()), orders)).sum(dtype=np.float64))
            for name, values in first.items()
        )
        if alike > most:
            best, most = orders, alike
    return best


def _arrays(weights: Mapping[str, Any], which: str) -> dict[str, np.ndarray]:
    return {name: as_array(values, f"{which}[{name!r}]") for name, values in weights.items()}


def _require_alike(
    first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray], axes: Axes, sizes: Mapping[str, int]
) -> None:
    """Refuse networks of two architectures, and groups that are not theirs."""
    shapes = [{name: np.shape(values) for name, values in one.items()} for one in (first, second)]
    for name in dict.fromkeys([*first, *second]):
        one, other = (found.get(name, "none") for found in shapes)
        if one != other:
            raise ValueError(
                f"{name!r} has the shape {one} in the first network and {other} in the second: only networks of one "
                "architecture can be matched, with weights under the same names."
            )
    for name, axis, group in [(name, *use) for name, found in axes.items() for use in found]:
        shape = shapes[0].get(name, ())
        if group not in sizes or not 0 <= axis < len(shape) or shape[axis] % sizes[group]:
            raise ValueError(
                f"axes says that axis {axis} of {name!r}, of shape {shape}, is in the order of {group!r}, which has "
                f"{sizes.get(group, 'no')} units in sizes."
            )
    moved = {group for found in axes.values() for _, group in found}
    if not sizes or {*sizes} - moved:
        raise ValueError(f"sizes={dict(sizes)} has units that no axis is in the order of; axes has {sorted(moved)}.")
    for which, weights in (("first", first), ("second", second)):
        check_finite(**{f"{which}[{name!r}]": values for name, values in weights.items()})


def _climbed(
    orders: dict[str, np.ndarray], gains: Callable[[str, Mapping[str, np.ndarray]], np.ndarray], seed: int
) -> dict[str, np.ndarray]:
    """Better one group after another until none gains."""
    rng = np.random.default_rng(seed)
    for _ in range(SWEEPS):
        gained = False
        for group in rng.permutation(sorted(orders)):
            gain = gains(group, orders)
            found, places = _assigned(gain), np.arange(len(gain))
            before, after = (float(gain[places, order].sum()) for order in (orders[group], found))
            if after > before + 1e-12 * max(1.0, abs(before)):
                orders[group], gained = found, True
        if not gained:
            break
    return orders


def _assigned(gain: Float[np.ndarray, "u u"]) -> Int[np.ndarray, " u"]:
    return linear_sum_assignment(gain, maximize=True)[1]


def match_activations(
    first: Mapping[str, Float[np.ndarray, "_ _"]], second: Mapping[str, Float[np.ndarray, "_ _"]]
) -> dict[str, Int[np.ndarray, " u"]]:
    """Find orders of the second network's units whose activities correlate most with the first's, group by group.

    Parameters
    ----------
    first, second : mapping of str to ndarray, shape (n, units)
        Activity of every unit of each group on the same examples (and places of an image).

    Returns
    -------
    dict of str to ndarray of int
        For each group, which unit of the second network takes each place. Units without any activity match last.

    Raises
    ------
    ValueError
        If the networks have other groups, or a group's arrays other shapes or values that are not finite.

    References
    ----------
    Li, Yosinski, Clune, Lipson and Hopcroft (2016), arXiv:1511.07543, section 3 (one-to-one matching).

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.interpolation import match_activations
    >>> activity = np.random.default_rng(0).standard_normal((50, 3))
    >>> match_activations({"a": activity[:, [1, 2, 0]]}, {"a": 2 * activity + 1})["a"].tolist()
    [1, 2, 0]
    """
    if not first or {*first} != {*second}:
        raise ValueError(f"the groups of both networks must be the same, and are {sorted(first)} and {sorted(second)}.")
    orders = {}
    for group, values in first.items():
        other = second[group]
        if values.shape != other.shape:
            raise ValueError(f"group {group!r}: activities have shapes {values.shape} and {other.shape}.")
        if len(values) < 2:
            raise ValueError(f"group {group!r}: activities on {len(values)} example have no correlation; give more.")
        check_finite(**{f"first[{group!r}]": values, f"second[{group!r}]": other})
        one, two = _standardized(values), _standardized(other)
        orders[group] = _assigned(one.T @ two)
    return orders


def _standardized(values: np.ndarray) -> np.ndarray:
    centered = values.astype(np.float64) - values.mean(0, dtype=np.float64)
    norms = np.linalg.norm(centered, axis=0)
    return centered / np.where(norms > 0, norms, np.inf)


def _rows(values: np.ndarray, axis: int, size: int) -> np.ndarray:
    """One row for each unit of an axis, on which a unit may have a block of neighbors."""
    return np.moveaxis(values.astype(np.float64), axis, 0).reshape(size, -1)


def _in_order(values: np.ndarray, axes: Sequence[tuple[int, str]], orders: Mapping[str, np.ndarray]) -> np.ndarray:
    for axis, group in axes:
        if group in orders:
            order = orders[group]
            block = values.shape[axis] // len(order)
            values = np.take(values, (order[:, None] * block + np.arange(block)).reshape(-1), axis=axis)
    return values
