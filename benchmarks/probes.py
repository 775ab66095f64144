"""Layer probes at every number of components: one pass against the loop that people write with scikit-learn.

    python benchmarks/probes.py --rows 5000 --queries 1000 --width 512

Both sides get the same principal scores and the same grid of k. The loop fits one estimator per k; ours adds up
distances over components (k-NN, nearest center) and starts each SVM from the one before. Agreement is printed
next to the seconds: times can be compared only at equal accuracy.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.svm import LinearSVC

from analysis.probes.curves import component_grid, knn_curve, ncc_curve
from analysis.probes.linear_svm import svm_path
from analysis.probes.moments import FeatureBlocks
from analysis.probes.streaming_pca import fit_pca


def features(rows: int, queries: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    total = rows + queries
    labels = rng.integers(0, 10, total)
    spectrum = np.arange(1, width + 1.0) ** -0.7
    basis = np.linalg.qr(rng.standard_normal((width, width)))[0]
    data = ((rng.standard_normal((10, width))[labels] * 0.5 + rng.standard_normal((total, width))) * spectrum) @ basis
    data = data.astype(np.float32)
    return data[:rows], labels[:rows], data[rows:], labels[rows:]


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    out = function()
    return out, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--neighbors", type=int, nargs="+", default=[1, 5, 10, 20, 50])
    parser.add_argument("--cost", type=float, default=0.1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    train, labels, test, truth = features(options.rows, options.queries, options.width, options.seed)
    blocks = [FeatureBlocks.from_array(torch.from_numpy(x)) for x in (train, test)]
    pca, seconds = timed(lambda: fit_pca(blocks[0], options.width))
    scores, queries = (pca.scores(block) for block in blocks)
    ks = component_grid(scores.shape[1])
    codes = torch.from_numpy(labels)
    z, q = scores.numpy(), queries.numpy()
    print(f"{options.rows} x {options.width}, {options.queries} test rows, {len(ks)} values of k, PCA {seconds:.2f} s")
    print(f"{'probe':24} {'ours s':>8} {'loop s':>8} {'ratio':>7}  largest difference of accuracy")

    def knn_loop() -> np.ndarray:
        return np.stack(
            [
                [KNeighborsClassifier(count, algorithm="brute").fit(z[:, :k], labels).predict(q[:, :k]) for k in ks]
                for count in options.neighbors
            ]
        )

    def svm_loop() -> np.ndarray:
        fits = [LinearSVC(C=options.cost, dual=False, intercept_scaling=10.0, tol=1e-4, max_iter=5000) for _ in ks]
        return np.stack([fit.fit(z[:, :k], labels).predict(q[:, :k]) for fit, k in zip(fits, ks, strict=True)])

    pairs: list[tuple[str, Callable[[], np.ndarray], Callable[[], np.ndarray]]] = [
        (
            f"k-NN, {len(options.neighbors)} neighborhoods",
            lambda: knn_curve(scores, codes, queries, ks, options.neighbors),
            knn_loop,
        ),
        (
            "nearest center",
            lambda: ncc_curve(scores, codes, queries, ks),
            lambda: np.stack([NearestCentroid().fit(z[:, :k], labels).predict(q[:, :k]) for k in ks]),
        ),
        (
            "linear SVM",
            lambda: np.stack(
                [
                    fit.predict(queries[:, :k])
                    for fit, k in zip(svm_path(scores, codes, ks, cost=options.cost), ks, strict=True)
                ]
            ),
            svm_loop,
        ),
    ]
    for name, ours, loop in pairs:
        (a, fast), (b, slow) = timed(ours), timed(loop)
        gap = np.abs((a == truth).mean(-1) - (b == truth).mean(-1)).max()
        print(f"{name:24} {fast:8.2f} {slow:8.2f} {slow / fast:6.1f}x  {100 * gap:.2f} points")


if __name__ == "__main__":
    main()
