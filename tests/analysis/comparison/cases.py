"""Small runs, layers and kernels that the tests of comparisons share."""

import numpy as np


def runs(count=5, examples=120, classes=3, noise=0.5, seed=0):
    """Outputs of so many seeds around what they share, and the labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, examples)
    shared = 2.0 * np.eye(classes)[labels] + rng.normal(size=(examples, classes))
    return {f"seed {i}": shared + noise * rng.normal(size=shared.shape) for i in range(count)}, labels


def layers(count=4, examples=40):
    """Features of two layers of so many seeds."""
    x = np.random.default_rng(0).normal(size=(examples, 6))

    def one(seed):
        rng = np.random.default_rng(seed)
        first = x @ rng.normal(size=(6, 8))
        return {"first": first, "second": np.maximum(first, 0) @ rng.normal(size=(8, 3))}

    return {f"seed {seed}": one(seed) for seed in range(count)}


def kernel(train=40, test=30, classes=3):
    """Kernel of a linear network, its labels on both sides, and its logits on the test points."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(train + test, 4))
    logits = x @ rng.normal(size=(4, classes))
    labels = (logits + rng.normal(size=logits.shape)).argmax(1)
    gram = x @ x.T
    return gram[:train, :train], gram[train:, :train], (labels[:train], labels[train:]), logits[train:]
