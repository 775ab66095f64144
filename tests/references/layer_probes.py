"""Slow, obvious float64 versions of everything that the layer probes compute in one pass."""

import numpy as np
from scipy.optimize import minimize


def pca(features, rank):
    """Mean, components (sign: largest loading positive), population variances and total variance by SVD."""
    features = np.asarray(features, np.float64)
    mean = features.mean(0)
    _, s, vt = np.linalg.svd(features - mean, full_matrices=False)
    vt = vt[:rank]
    peak = np.take_along_axis(vt, np.abs(vt).argmax(1)[:, None], 1)
    variances = s**2 / len(features)
    return mean, vt * np.sign(peak), variances[:rank], variances.sum()


def knn(train, labels, test, neighbors, exclude_self=False):
    """One vote at a time: nearest rows by full distance, ties to the tied class with the nearest member."""
    out = []
    for i, row in enumerate(test):
        distance = ((train - row) ** 2).sum(1)
        if exclude_self:
            distance[i] = np.inf
        nearest = labels[np.argsort(distance, kind="stable")[:neighbors]]
        counts = np.bincount(nearest)
        out.append(next(c for c in nearest if counts[c] == counts.max()))
    return np.array(out)


def ncc(train, labels, test):
    means = np.stack([train[labels == c].mean(0) for c in range(labels.max() + 1)])
    return ((test[:, None] - means) ** 2).sum(2).argmin(1)


def ridge(train, labels, test, penalty):
    """Refit with an unpenalized intercept: minimize ‖Y - b - zw‖²/n + α‖w‖²."""
    n, k = train.shape
    design = np.column_stack([np.ones(n), train])
    targets = np.eye(labels.max() + 1)[labels]
    shrink = n * penalty * np.diag([0.0] + [1.0] * k)
    weight = np.linalg.solve(design.T @ design + shrink, design.T @ targets)
    return np.column_stack([np.ones(len(test)), test]) @ weight


def squared_hinge(features, signs, cost):
    """One binary SVM with an unpenalized bias by a general-purpose optimizer."""
    n, k = features.shape
    design = np.column_stack([features, np.ones(n)])

    def loss(theta):
        left = np.maximum(0.0, 1.0 - signs * (design @ theta))
        grad = -2.0 * cost * design.T @ (left * signs)
        grad[:k] += theta[:k]
        return 0.5 * theta[:k] @ theta[:k] + cost * left @ left, grad

    found = minimize(
        loss, np.zeros(k + 1), jac=True, method="L-BFGS-B", options={"maxiter": 20000, "ftol": 1e-16, "gtol": 1e-10}
    )
    return found.x, found.fun


def nc1(features, labels, cutoff):
    """D x D form: tr(Σ_W Σ_B⁺)/C with the pseudo-inverse cut at (cutoff s_1)² on eigenvalues."""
    classes = labels.max() + 1
    means = np.stack([features[labels == c].mean(0) for c in range(classes)])
    within = (
        sum(
            (features[labels == c] - means[c]).T @ (features[labels == c] - means[c]) / (labels == c).sum()
            for c in range(classes)
        )
        / classes
    )
    centered = means - means.mean(0)
    values, vectors = np.linalg.eigh(centered.T @ centered / classes)
    keep = values > max(cutoff**2, 1e-13) * values.max()
    inverse = (vectors[:, keep] / values[keep]) @ vectors[:, keep].T
    return np.trace(within @ inverse) / classes


def onset(accuracies, tolerance):
    """Check every layer against every later one."""
    for start in range(len(accuracies)):
        if all(max(row) - min(row) <= tolerance + 1e-12 for row in accuracies[start:]):
            return start
    return -1


def simplex_etf(classes, width, rng):
    """Class means of a simplex equiangular tight frame with unit norms in a random orientation."""
    frame = np.sqrt(classes / (classes - 1)) * (np.eye(classes) - 1.0 / classes)
    basis = np.linalg.qr(rng.standard_normal((width, classes)))[0]
    return frame @ basis.T
