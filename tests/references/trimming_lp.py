"""Trimming levels the slow way: linear programs, and a search over the released grid."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

RELEASED_GRID = (0, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45)


def _program(candidate, reference, weights=None, reference_weights=None):
    """Rows +-(P'(t) - G(t)) of every supremum candidate, with one trimmed mass per candidate value."""
    candidate, reference = np.asarray(candidate, float), np.asarray(reference, float)
    share = np.full(len(candidate), 1.0) if weights is None else np.asarray(weights, float)
    other = np.full(len(reference), 1.0) if reference_weights is None else np.asarray(reference_weights, float)
    share, other = share / share.sum(), other / other.sum()
    points = np.unique(np.concatenate([candidate, reference]))
    inside = (candidate[None, :] <= points[:, None]).astype(float)
    target = (reference[None, :] <= points[:, None]).astype(float) @ other
    return share, inside, target


def distance_by_program(candidate, reference, alpha, weights=None, reference_weights=None):
    """D(alpha): minimize r with |P' - G| <= r, sum p = 1 and 0 <= p_i <= w_i / (1 - alpha)."""
    share, inside, target = _program(candidate, reference, weights, reference_weights)
    ones = np.ones((len(target), 1))
    found = linprog(
        np.r_[np.zeros(len(share)), 1.0],
        A_ub=np.block([[inside, -ones], [-inside, -ones]]),
        b_ub=np.r_[target, -target],
        A_eq=np.r_[np.ones(len(share)), 0.0][None],
        b_eq=[1.0],
        bounds=[(0, w / (1 - alpha)) for w in share] + [(0, None)],
    )
    return found.fun


def level_by_program(candidate, reference, delta, weights=None, reference_weights=None):
    """Smallest alpha with D(alpha) <= delta as one program in (p, s); (1, False) where it is infeasible."""
    share, inside, target = _program(candidate, reference, weights, reference_weights)
    n = len(share)
    found = linprog(
        np.r_[np.zeros(n), 1.0],
        A_ub=np.block(
            [
                [inside, np.zeros((len(target), 1))],
                [-inside, np.zeros((len(target), 1))],
                [np.eye(n), -share[:, None]],
            ]
        ),
        b_ub=np.r_[target + delta, -target + delta, np.zeros(n)],
        A_eq=np.r_[np.ones(n), 0.0][None],
        b_eq=[1.0],
        bounds=[(0, None)] * n + [(1, None)],
    )
    return (1 - 1 / found.fun, True) if found.status == 0 else (1.0, False)


def level_by_grid(candidate, reference, delta, grid=RELEASED_GRID):
    """First grid value whose program stays within delta, as released; None past the grid."""
    for alpha in grid:
        if distance_by_program(candidate, reference, alpha) <= delta + 1e-9:
            return alpha
    return None
