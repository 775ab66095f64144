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


def published_tau(network, surrogate):
    """Keep what is strictly between 0 and 1 in both and compare all pairs; NaN if anything is NaN."""
    kept = [(a, b) for a, b in zip(network, surrogate, strict=True) if a not in (0.0, 1.0) and b not in (0.0, 1.0)]
    if any(np.isnan(b) for _, b in kept):
        return float("nan")
    return kendall_tau_b(*map(list, zip(*kept, strict=True)))


def single_sigmoid(x):
    """One number in float32, as a network on a GPU rounds it."""
    with np.errstate(over="ignore"):
        return float(np.float32(1) / (np.float32(1) + np.exp(-np.float32(x))))


def single_softmax(row):
    """One row in float32, its largest value subtracted."""
    e = np.exp(np.asarray(row, np.float32) - np.float32(max(row)))
    return (e / e.sum(dtype=np.float32)).tolist()


def ceiling_of_halves(margins):
    """All splits of an even number of seeds into halves, one test point at a time: ρ, averaged; and √(2r/(1+r))."""
    from scipy.stats import spearmanr

    _, seeds, points = margins.shape
    found = []
    for point in range(points):
        values = []
        for first in itertools.combinations(range(seeds), seeds // 2):
            second = [seed for seed in range(seeds) if seed not in first]
            halves = margins[:, list(first), point].mean(1), margins[:, second, point].mean(1)
            values.append(spearmanr(*halves).statistic)
        found.append(float(np.mean(values)))
    r = float(np.mean(found))
    return float(np.sqrt(2 * r / (1 + r)))


def glm_optimum(kernel, y, alpha, formulation, penalty):
    """Smallest objective of a kernel GLM with balanced classes, by BFGS on explicit features (rkhs: a root of K)."""
    from scipy.optimize import minimize

    n, n_classes = len(y), int(y.max()) + 1
    features = kernel
    if penalty == "rkhs":
        values, vectors = np.linalg.eigh(kernel)
        features = vectors * np.sqrt(values.clip(0))
    weight = n / (n_classes * np.bincount(y))
    columns = n_classes if formulation == "softmax" or n_classes > 2 else 1
    size = features.shape[1] * columns

    def objective(theta):
        w, b = theta[:size].reshape(-1, columns), theta[size:]
        s = features @ w + b
        if formulation == "softmax":
            p = np.exp(s - np.logaddexp.reduce(s, axis=1)[:, None])
            slope = weight[y][:, None] * (p - np.eye(n_classes)[y]) / n
            loss = (weight[y] * (np.logaddexp.reduce(s, axis=1) - s[np.arange(n), y])).sum() / n
        else:
            hot = np.eye(n_classes)[y] if n_classes > 2 else (y == 1)[:, None].astype(float)
            sides = (weight, 1.0) if n_classes > 2 else (weight[1], weight[0])
            mass, sign = np.where(hot > 0, *sides), 2 * hot - 1
            loss = -(mass * log_sigmoid(sign * s)).sum() / n
            slope = -mass * sign * np.exp(log_sigmoid(-sign * s)) / n
        return loss + alpha / 2 * (w**2).sum(), np.r_[(features.T @ slope + alpha * w).ravel(), slope.sum(0)]

    options = {"maxiter": 20000, "maxfun": 50000, "ftol": 1e-16, "gtol": 1e-11}
    return minimize(objective, np.zeros(size + columns), jac=True, method="L-BFGS-B", options=options).fun


def gauss_newton_influence(model, x, y, z, classes, damping):
    """Build H point by point, invert it, and give -∇m(z)ᵀ(H + λ)⁻¹∇ℓ_i for the log-odds m of a class. Cross-entropy."""
    import torch

    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def gradient(value):
        found = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
        found = [torch.zeros_like(p) if g is None else g for g, p in zip(found, parameters, strict=True)]
        return torch.cat([g.flatten() for g in found]).numpy()

    def each(points):
        if isinstance(points, torch.Tensor):
            return [model(point[None])[0] for point in points]
        rows = len(points["input_ids"])
        return [model(**{name: value[i : i + 1] for name, value in points.items()}).logits[0] for i in range(rows)]

    p = sum(parameter.numel() for parameter in parameters)
    curvature, train, test = np.zeros((p, p)), [], []
    for logits, label in zip(each(x), y.tolist(), strict=True):
        jacobian = np.stack([gradient(logit) for logit in logits])
        share = logits.softmax(0).detach().numpy()
        curvature += jacobian.T @ (np.diag(share) - np.outer(share, share)) @ jacobian / len(y)
        train.append(gradient(-logits.log_softmax(0)[label]))
    for logits, label in zip(each(z), classes.tolist(), strict=True):
        others = torch.stack([logit for c, logit in enumerate(logits) if c != label])
        test.append(gradient(logits[label] - others.logsumexp(0)))
    return -np.stack(test) @ np.linalg.inv(curvature + damping * np.eye(p)) @ np.stack(train).T


def unrolled_derivative(model, batches, rates, momentum, rows, measure):
    """Build the graph of a whole training by SGD and let autograd differentiate a measure of its end by row weights.

    `batches` holds (inputs, labels, places) of each step; `measure` maps parameters by name to numbers (k,).
    """
    import torch
    from torch.func import functional_call

    weights = torch.ones(rows, dtype=torch.float64, requires_grad=True)
    state = {n: p.detach().clone().requires_grad_() for n, p in model.named_parameters() if p.requires_grad}
    moved = {n: torch.zeros_like(p) for n, p in state.items()}
    for (inputs, labels, places), rate in zip(batches, rates, strict=True):
        given = ((inputs,), {}) if isinstance(inputs, torch.Tensor) else ((), inputs)
        made = functional_call(model, state, *given)
        logits = made if isinstance(made, torch.Tensor) else made.logits
        losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
        loss = (weights[places] * losses).mean()
        found = torch.autograd.grad(loss, list(state.values()), create_graph=True, allow_unused=True)
        slopes = {n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(state.items(), found, strict=True)}
        moved = {n: momentum * moved[n] + slopes[n] for n in state}
        state = {n: p - rate * moved[n] for n, p in state.items()}
    values = measure(state)
    return torch.stack([torch.autograd.grad(one, weights, retain_graph=True)[0] for one in values]).numpy()


def segment_formula(measure, gradients, curvatures, lengths):
    """SOURCE with matrix exponentials: Σ_l u_lᵀ (1 - e^(-t_l H_l)) H_l⁻¹ g, u_(l-1) = e^(-t_l H_l) u_l, backwards."""
    from scipy.linalg import expm

    total, u = 0.0, np.array(measure, float)
    for g, h, t in reversed(list(zip(gradients, curvatures, lengths, strict=True))):
        fade = expm(-t * h)
        total = total + u @ (np.eye(len(h)) - fade) @ np.linalg.inv(h) @ g.T
        u = u @ fade
    return total
