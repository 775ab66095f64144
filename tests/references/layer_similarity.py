"""Slow measures of how alike two layers are, in float64: the best rotation by optimization over all, and neighbors."""

import numpy as np
from scipy.linalg import orthogonal_procrustes


def rotation_similarity(x, y):
    """Half of what the squared distance of both, scaled to norm 1, falls below 2 at the best rotation."""
    width = max(x.shape[1], y.shape[1])
    left, right = (
        np.pad(part - part.mean(0), ((0, 0), (0, width - part.shape[1])), constant_values=0.0) for part in (x, y)
    )
    left, right = left / np.linalg.norm(left), right / np.linalg.norm(right)
    rotation, _ = orthogonal_procrustes(left, right)
    return 1 - ((left @ rotation - right) ** 2).sum() / 2


def neighbor_overlap(x, y, count):
    """Share of the nearest other examples in common, by a loop over examples."""
    shares = []
    for i in range(len(x)):
        near = []
        for part in (x, y):
            apart = np.linalg.norm(part - part[i], axis=1)
            apart[i] = np.inf
            near.append(set(np.argsort(apart, kind="stable")[:count].tolist()))
        shares.append(len(near[0] & near[1]) / count)
    return float(np.mean(shares))
