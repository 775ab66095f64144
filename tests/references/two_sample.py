"""Two-sample statistics by their definitions: double loops, matrix square roots, one permutation at a time."""

import numpy as np
from scipy import linalg
from sklearn.linear_model import LogisticRegression


def mmd_squared(a, b, bandwidth):
    def k(x, y):
        return np.exp(-((x - y) ** 2).sum() / (2 * bandwidth**2))

    aa = np.mean([k(a[i], a[j]) for i in range(len(a)) for j in range(len(a)) if i != j])
    bb = np.mean([k(b[i], b[j]) for i in range(len(b)) for j in range(len(b)) if i != j])
    return aa + bb - 2 * np.mean([k(x, y) for x in a for y in b])


def energy(a, b):
    def d(x, y):
        return np.sqrt(((x - y) ** 2).sum())

    aa = np.mean([d(a[i], a[j]) for i in range(len(a)) for j in range(len(a)) if i != j])
    bb = np.mean([d(b[i], b[j]) for i in range(len(b)) for j in range(len(b)) if i != j])
    return 2 * np.mean([d(x, y) for x in a for y in b]) - aa - bb


def frechet(a, b, gamma):
    d = a.shape[1]
    covariances = []
    for x in (a, b):
        s = np.cov(x.T)
        covariances.append((1 - gamma) * s + gamma * np.trace(s) / d * np.eye(d))
    root = linalg.sqrtm(covariances[0] @ covariances[1]).real
    gap = a.mean(0) - b.mean(0)
    return gap @ gap + np.trace(covariances[0] + covariances[1] - 2 * root)


def median_distance(pooled):
    n = len(pooled)
    return np.median([np.linalg.norm(pooled[i] - pooled[j]) for i in range(n) for j in range(i)])


def logistic(features, signs, penalty):
    fit = LogisticRegression(C=1.0 / penalty, tol=1e-10, max_iter=10_000).fit(features, signs)
    return np.append(fit.coef_[0], fit.intercept_)
