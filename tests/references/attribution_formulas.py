"""Slow, obvious float64 versions of the surrogate and attribution formulas."""

import itertools

import numpy as np


def log_sigmoid(x):
    return -np.logaddexp(0, -x)


def glm_objective(kernel, targets, weights, intercept, alpha, *, class_weight, formulation, penalty):
    """Penalized loss, one point and one class at a time. weights (c, n); ovr with C = 2 has one row."""
    n, n_classes = targets.shape
    total = 0.0
    for i in range(n):
        scores = weights @ kernel[i] + intercept
        if formulation == "softmax":
            log_p = scores - np.logaddexp.reduce(scores)
            total -= sum(class_weight[c] * targets[i, c] * log_p[c] for c in range(n_classes)) / n
        elif n_classes == 2:
            total -= class_weight[1] * targets[i, 1] * log_sigmoid(scores[0]) / n
            total -= class_weight[0] * targets[i, 0] * log_sigmoid(-scores[0]) / n
        else:
            for c in range(n_classes):
                total -= class_weight[c] * targets[i, c] * log_sigmoid(scores[c]) / n
                total -= (1 - targets[i, c]) * log_sigmoid(-scores[c]) / n
    for w in weights:
        total += alpha / 2 * (w @ kernel @ w if penalty == "rkhs" else w @ w)
    return total


def kendall_tau_b(x, y):
    """All pairs."""
    concordant = discordant = ties_x = ties_y = 0
    for i, j in itertools.combinations(range(len(x)), 2):
        a, b = np.sign(x[i] - x[j]), np.sign(y[i] - y[j])
        concordant += a * b > 0
        discordant += a * b < 0
        ties_x += a == 0
        ties_y += b == 0
    pairs = len(x) * (len(x) - 1) / 2
    return (concordant - discordant) / np.sqrt((pairs - ties_x) * (pairs - ties_y))


def gini(values):
    """Mean absolute difference over all pairs, over twice the mean."""
    v = np.abs(values)
    return np.abs(v[:, None] - v[None, :]).mean() / (2 * v.mean())


def points_for_share(values, share):
    """Add the strongest points one by one."""
    ordered = sorted(np.abs(values), reverse=True)
    total, running = sum(ordered), 0.0
    for count, value in enumerate(ordered, start=1):
        running += value
        if running >= share * total * (1 - 1e-12):
            return count
    raise AssertionError


def hits_over_orders(scores, mask, k):
    """Mean number of marked points among the k best over every order of ties (tiny inputs)."""
    counts = []
    for order in itertools.permutations(range(len(scores))):
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order)):
            counts.append(mask[list(order[:k])].sum())
    return np.mean(counts)


def trak_one(train, test, probability):
    """Dense formula of one network, without ridge."""
    inverse = np.linalg.inv(train.T @ train)
    return np.array([[t @ inverse @ f * (1 - p) for f, p in zip(train, probability, strict=True)] for t in test])


def weighted_ridge(features, targets, sample_weight, damping):
    """Minimize (1/2n) Σ w_i (x_i·θ - y_i)² + (λ/2)‖θ‖² with fixed n."""
    n, p = features.shape
    hessian = (features * sample_weight[:, None]).T @ features / n + damping * np.eye(p)
    return np.linalg.solve(hessian, (features * sample_weight[:, None]).T @ targets / n)
