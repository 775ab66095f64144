"""k-NN, nearest class-center and ridge predictions at every number of components, each from one pass.

Squared distances add up over components, so a classifier on the first k scores differs from the one on the
first k-1 by one more term: the whole curve costs what its last point costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


def component_grid(limit: int) -> list[int]:
    """Numbers of components to report: 1..20, then factors of 1.25 up to and including `limit`."""
    if limit < 1:
        raise ValueError(f"a grid needs at least one component, got {limit}.")
    grid = list(range(1, min(20, limit) + 1))
    while grid[-1] < limit:
        grid.append(min(limit, int(np.ceil(grid[-1] * 1.25))))
    return grid


def knn_curve(
    train: Float[Tensor, "n r"],
    labels: Int[Tensor, " n"],
    test: Float[Tensor, "m r"],
    ks: Sequence[int],
    neighbors: Sequence[int],
    *,
    exclude_self: bool = False,
    tile: int = 1024,
) -> Int[np.ndarray, "neighbors ks m"]:
    """Majority votes of the κ nearest training scores, for every k and every κ.

    Test rows are tiled; each grid step adds one GEMM over the new components, and the κ_max nearest rows
    serve every smaller κ. Ties between classes go to the tied class with the nearest member.

    Parameters
    ----------
    train, test : Tensor, shape (n, r) and (m, r)
        Scores on the training components, leading component first.
    labels : int Tensor, shape (n,)
        Class codes of the training rows.
    ks : sequence of int
        Numbers of components, ascending, the last at most r.
    neighbors : sequence of int
        Numbers of neighbors κ.
    exclude_self : bool
        `test` is `train`: row i is not its own neighbor (leave-one-out votes).
    tile : int
        Test rows held at a time; memory is tile x n.

    Returns
    -------
    predictions : int16 ndarray, shape (len(neighbors), len(ks), m)

    Examples
    --------
    >>> import torch
    >>> from analysis.probes import knn_curve
    >>> train, labels = torch.tensor([[0.0, 0.0], [0.1, 5.0], [1.0, 0.0], [1.1, 5.0]]), torch.tensor([0, 1, 0, 1])
    >>> test = torch.tensor([[0.9, 5.0]])
    >>> knn_curve(train, labels, test, ks=[1, 2], neighbors=[1])[0].tolist()  # the second component decides
    [[0], [1]]
    """
    _check_ks(ks, train.shape[1])
    available = train.shape[0] - int(exclude_self)
    if min(neighbors) < 1 or max(neighbors) > available:
        raise ValueError(f"k-NN needs {max(neighbors)} neighbors, there are {available} training rows.")
    most, classes = max(neighbors), int(labels.max()) + 1
    out = np.empty((len(neighbors), len(ks), test.shape[0]), dtype=np.int16)
    for start in range(0, test.shape[0], tile):
        rows = test[start : start + tile]
        distance = torch.zeros(rows.shape[0], train.shape[0], dtype=train.dtype, device=train.device)
        own = torch.arange(rows.shape[0], device=train.device)
        for step, (low, high) in enumerate(_segments(ks)):
            part, query = train[:, low:high], rows[:, low:high]
            # the test row's own norm is the same for every neighbor and is left out
            distance += part.square().sum(dim=1) - 2.0 * query @ part.T
            if exclude_self:
                distance[own, start + own] = torch.inf
            nearest = labels[distance.topk(most, largest=False).indices]
            for which, count in enumerate(neighbors):
                out[which, step, start : start + rows.shape[0]] = _vote(nearest[:, :count], classes)
    return out


def ncc_curve(
    train: Float[Tensor, "n r"], labels: Int[Tensor, " n"], test: Float[Tensor, "m r"], ks: Sequence[int]
) -> Int[np.ndarray, "ks m"]:
    """Nearest class-center predictions for every k: running sums of (z_j - m_cj)².

    Parameters
    ----------
    train, test : Tensor, shape (n, r) and (m, r)
        Scores on the training components.
    labels : int Tensor, shape (n,)
    ks : sequence of int
        Numbers of components, ascending.

    Returns
    -------
    predictions : int16 ndarray, shape (len(ks), m)
    """
    _check_ks(ks, train.shape[1])
    centers = class_means(train, labels)
    distance = torch.zeros(test.shape[0], centers.shape[0], dtype=test.dtype, device=test.device)
    out = np.empty((len(ks), test.shape[0]), dtype=np.int16)
    for step, (low, high) in enumerate(_segments(ks)):
        for j in range(low, high):
            distance += (test[:, j : j + 1] - centers[:, j]).square_()
        out[step] = distance.argmin(dim=1).cpu().numpy()
    return out


def ridge_curve(
    train: Float[Tensor, "n r"],
    labels: Int[Tensor, " n"],
    test: Float[Tensor, "m r"],
    ks: Sequence[int],
    *,
    penalty: float,
) -> Int[np.ndarray, "ks m"]:
    """One-hot least squares for every k: minimize ‖Y - b - zᵀw‖²/n + α‖w‖².

    Principal scores are uncorrelated on the rows that they were fitted on, so w_j = z_jᵀY / (n(λ_j + α)) does
    not depend on k and predictions are running sums added to the class shares.

    Parameters
    ----------
    train : Tensor, shape (n, r)
        Principal scores of the very rows that the components were fitted on.
    labels : int Tensor, shape (n,)
    test : Tensor, shape (m, r)
    ks : sequence of int
        Numbers of components, ascending.
    penalty : float
        α, in units of a variance.

    Returns
    -------
    predictions : int16 ndarray, shape (len(ks), m)

    Raises
    ------
    ValueError
        If the columns of `train` are correlated: then they are not principal scores.
    """
    _check_ks(ks, train.shape[1])
    if penalty < 0:
        raise ValueError(f"the ridge penalty must not be negative, got {penalty}.")
    scatter = train.T @ train
    spread = scatter.diagonal().clone()
    loose = (scatter - torch.diag(spread)).abs().amax() / spread.amax()
    if float(loose) > 1e-3:
        raise ValueError(f"ridge_curve needs principal scores of the training rows; columns correlate ({loose:.1e}).")
    targets = torch.nn.functional.one_hot(labels.long(), int(labels.max()) + 1).to(train.dtype)
    share = targets.mean(dim=0)
    weight = train.T @ (targets - share) / (spread + train.shape[0] * penalty)[:, None]
    fitted = share.expand(test.shape[0], -1).clone()
    out = np.empty((len(ks), test.shape[0]), dtype=np.int16)
    for step, (low, high) in enumerate(_segments(ks)):
        fitted += test[:, low:high] @ weight[low:high]
        out[step] = fitted.argmax(dim=1).cpu().numpy()
    return out


def class_means(features: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> Float[Tensor, "C d"]:
    """Mean of each class 0..C-1, summed in float64."""
    classes = int(labels.max()) + 1
    sums = torch.zeros(classes, features.shape[1], dtype=torch.float64, device=features.device)
    sums.index_add_(0, labels.long(), features.to(torch.float64))
    counts = torch.bincount(labels.long(), minlength=classes)
    return (sums / counts[:, None]).to(features.dtype)


def _vote(nearest: Tensor, classes: int) -> np.ndarray:
    counts = torch.zeros(nearest.shape[0], classes, dtype=torch.int32, device=nearest.device)
    counts.scatter_add_(1, nearest.long(), torch.ones_like(nearest, dtype=torch.int32))
    votes = counts.gather(1, nearest.long())
    # neighbors come nearest first: the first one whose class has the most votes decides
    first = (votes == votes.amax(dim=1, keepdim=True)).to(torch.int8).argmax(dim=1, keepdim=True)
    winners: np.ndarray = nearest.gather(1, first).squeeze(1).cpu().numpy()
    return winners


def _segments(ks: Iterable[int]) -> Iterator[tuple[int, int]]:
    low = 0
    for high in ks:
        yield low, high
        low = high


def _check_ks(ks: Sequence[int], rank: int) -> None:
    if not ks or ks[0] < 1 or any(b <= a for a, b in zip(ks, ks[1:], strict=False)) or ks[-1] > rank:
        raise ValueError(f"numbers of components must ascend within 1..{rank}, got {list(ks)}.")
