"""Permutation of domain labels, by group and within strata, and the levels that a Monte Carlo p-value can reach."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

SMALL_SAMPLE = 20


@dataclass(frozen=True)
class TestResult:
    """One two-sample test.

    Attributes
    ----------
    name : str
    statistic : float
        Effect in its natural unit (MMD², accuracy, AUC, largest KS distance, ...).
    p_value : float
    sizes : tuple of int
        n_A, n_B.
    draws : int
        Permutations R; 0 for exact p-values.
    smallest_p : float
        Smallest p-value that this test can give.
    detail : dict
        Further numbers of this test (bandwidth, penalty, p by component, ...).
    notes : tuple of str
        What a reader must know, such as a small sample.
    """

    __test__ = False  # not a pytest class

    name: str
    statistic: float
    p_value: float
    sizes: tuple[int, int]
    draws: int
    smallest_p: float
    detail: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def rejects(self, alpha: float = 0.05, *, tests: int = 1) -> bool:
        """Verdict at level alpha, Bonferroni over `tests`.

        Raises
        ------
        ValueError
            If too few permutations were drawn for this level; the message states how many are needed.
        """
        if self.smallest_p > alpha / tests:
            raise ValueError(
                f"{self.name}: {self.draws} permutations cannot reach α/m = {alpha / tests:.3g}; "
                f"draw at least {int(np.ceil(tests / alpha)) - 1}."
            )
        return self.p_value <= alpha / tests


def domain_permutations(
    sizes: tuple[int, int],
    draws: int,
    generator: np.random.Generator,
    *,
    groups: np.ndarray | None = None,
    strata: np.ndarray | None = None,
) -> Bool[np.ndarray, "draws_plus_1 n"]:
    """Membership in A: the observed one first, then `draws` random ones.

    Rows of A come first, rows of B after them. Rows that share a group and a side move together. With strata
    (class labels), labels are exchanged within each stratum only, so that a gap in class shares is not
    called a shift.

    Parameters
    ----------
    sizes : tuple of int
        n_A, n_B.
    draws : int
        R permutations.
    generator : numpy Generator
    groups : ndarray, shape (n_A + n_B,), optional
        User, query or other cluster of each row, known on both sides.
    strata : ndarray, shape (n_A + n_B,), optional

    Returns
    -------
    member : bool ndarray, shape (draws + 1, n_A + n_B)

    Raises
    ------
    ValueError
        For an empty side, when a side is a single group (it would shrink to one row under most permutations), or
        when no label could move (each stratum is on one side only).
    """
    total = sum(sizes)
    if min(sizes) < 2 or draws < 1:
        raise ValueError(f"a permutation test needs two rows a side and one draw, got {sizes} and {draws}.")
    side = np.arange(total) < sizes[0]
    for name, column in (("groups", groups), ("strata", strata)):
        if column is not None and len(column) != total:
            raise ValueError(f"{name} has {len(column)} entries for {total} rows.")
    layer = np.zeros(total, int) if strata is None else np.unique(strata, return_inverse=True)[1].reshape(-1)
    cluster = np.arange(total) if groups is None else np.unique(groups, return_inverse=True)[1].reshape(-1)
    units, owner = np.unique(np.stack([cluster, side, layer], axis=1), axis=0, return_inverse=True)
    owner = owner.reshape(-1)
    unit_side, unit_layer = units[:, 1].astype(bool), units[:, 2]
    for name, units_there in (("A", unit_side), ("B", ~unit_side)):
        if units_there.sum() < 2:
            raise ValueError(
                f"side {name} is one group of {sizes[name == 'B']} rows, and groups move as wholes: it cannot be "
                "compared with independent rows. Collect rows of other groups, or test without groups."
            )
    blocks = [np.flatnonzero(unit_layer == value) for value in np.unique(unit_layer)]
    if not any(0 < unit_side[block].sum() < block.size for block in blocks):
        raise ValueError("no domain label can move: each stratum or group is on one side only.")
    member = np.empty((draws + 1, total), dtype=bool)
    member[0] = side
    shuffled = unit_side.copy()
    for row in range(1, draws + 1):
        for block in blocks:
            shuffled[block] = generator.permutation(unit_side[block])
        member[row] = shuffled[owner]
    return member


def permutation_p(statistics: Float[np.ndarray, " draws_plus_1"]) -> float:
    """(1 + #{T_b ≥ T}) / (R + 1), the observed statistic T first; ties count against rejection.

    Raises
    ------
    ValueError
        If a statistic is not a number: it is neither larger nor smaller than the observed one.
    """
    undefined = np.flatnonzero(np.isnan(statistics))
    if undefined.size:
        raise ValueError(
            f"{undefined.size} of {statistics.size} permutations have no statistic (the first is number "
            f"{undefined[0]}): their sides are too small or constant. Use more rows a side."
        )
    observed, rest = statistics[0], statistics[1:]
    # sums taken in another order differ in the last digits; a permutation that undoes itself is a tie
    slack = 1e-10 * max(abs(float(observed)), 1e-300)
    return float((1 + np.count_nonzero(rest >= observed - slack)) / statistics.size)


def sample_notes(sizes: tuple[int, int], groups: np.ndarray | None) -> tuple[str, ...]:
    """Describe what a small sample or groups mean for the result."""
    notes = []
    if min(sizes) < SMALL_SAMPLE:
        notes.append(f"n = {min(sizes)} on one side: the permutation p is valid, but power is low.")
    if groups is not None:
        notes.append(f"{len(np.unique(groups))} groups for {len(groups)} rows moved as wholes.")
    return tuple(notes)


def crowding_note(groups: np.ndarray, *, share: float = 0.02) -> str | None:
    """Warn about rows that are not independent when groups are known but not used.

    Parameters
    ----------
    groups : ndarray, shape (n,)
    share : float
        A group with more than this share of rows, and more than two, is reported.

    Returns
    -------
    str or None
    """
    counts = np.unique(groups, return_counts=True)[1]
    if counts.max() > max(2, share * counts.sum()):
        return f"one group holds {counts.max()} of {counts.sum()} rows: permute whole groups, or read p as optimistic."
    return None


def check_samples(
    a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m e"]
) -> tuple[Float[np.ndarray, "n_plus_m d"], tuple[int, int]]:
    """Pool two samples in float64, refusing other widths and naming rows that are not finite."""
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"the samples have widths {a.shape[1]} and {b.shape[1]}.")
    for side, values in (("A", a), ("B", b)):
        broken = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if broken.size:
            raise ValueError(f"sample {side}: rows {broken[:10].tolist()} hold NaN or infinity ({broken.size}).")
    return np.concatenate([a, b]).astype(np.float64), (a.shape[0], b.shape[0])
