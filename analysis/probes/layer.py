"""Surrogate classifiers on the principal components of one layer: one tidy table of accuracy and fidelity.

The features come from a frozen network in evaluation mode without augmentation. Mean, components, class
centers and every fitted weight come from training rows alone.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from analysis.probes.curves import component_grid, knn_curve, ncc_curve, ridge_curve
from analysis.probes.labeled_features import LabeledFeatures, check_splits
from analysis.probes.linear_svm import LinearSvm, Scaling, choose_cost, fit_linear_svm, scaling_factors, svm_path
from analysis.probes.streaming_pca import PrincipalComponents, fit_pca
from kernels.arguments import checked_arguments

_log = logging.getLogger(__name__)

ALL_COMPONENTS = 0
"""Value of `k` in the table for the centered raw feature, that is, every component."""


@dataclass(frozen=True)
class ProbeSettings:
    """What is fitted on each layer.

    Attributes
    ----------
    rank : int
        Components kept (1,024 covers every published claim).
    neighbors : tuple of int
        κ of the k-NN probes; the first is the one that summaries use.
    costs : tuple of float
        Candidates for the SVM's C; among several, the best on a held-out part of the training rows is used.
    scaling : {"none", "global", "whitening"}
        Scaling of the scores before the SVM. `none` and `global` also serve raw features.
    ridge_penalty : float
        α of the ridge probe as a share of the total variance.
    tolerance : float
        Relative gradient norm at which an SVM counts as converged.
    knn_on_train : bool
        Also give leave-one-out k-NN accuracy on the training rows (costs as much as n test rows).
    seed : int
        Starts the randomized PCA and the held-out split.

    Examples
    --------
    >>> from analysis.probes import ProbeSettings
    >>> quick = ProbeSettings(rank=64, neighbors=(10,), costs=(0.01,))  # one k-NN and one cost: no search
    >>> quick.scaling
    'global'
    """

    rank: int = 1024
    neighbors: tuple[int, ...] = (10, 1, 5, 20, 50)
    costs: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1)
    scaling: Scaling = "global"
    ridge_penalty: float = 1e-4
    tolerance: float = 1e-4
    knn_on_train: bool = False
    seed: int = 0


class ProbeRow(TypedDict):
    """One classifier at one number of components, a row of the tidy table.

    Attributes
    ----------
    layer, classifier : str
        Classifier is knn, ncc, svm or ridge.
    width : int
        D, features of the layer.
    setting : float
        κ, C or α; NaN for ncc.
    k : int
        Components used; 0 is the centered raw feature.
    evr : float
        Explained-variance ratio of those components.
    accuracy, fidelity : float
        Share of test rows where the probe equals the label, and the network's own prediction.
    train_accuracy, train_fidelity : float
        The same on training rows; NaN where not computed.
    converged : bool
        Whether the solver reached its tolerance; False is drawn as a hollow marker.
    """

    layer: str
    classifier: str
    width: int
    setting: float
    k: int
    evr: float
    accuracy: float
    fidelity: float
    train_accuracy: float
    train_fidelity: float
    converged: bool


@dataclass(frozen=True)
class LayerProbes:
    """All results of the probes of one layer.

    Attributes
    ----------
    rows : list of ProbeRow
        The tidy table.
    pca : PrincipalComponents
    predictions : dict of str to int16 ndarray, shape (m,)
        Test predictions of knn (first κ), ncc and svm on all components, for the onset and its bootstrap.
    ks : tuple of int
        Numbers of components tried, ascending.
    by_components : dict of str to int16 ndarray, shape (len(ks), m)
        The same three classifiers' test predictions at every number of components, so that two numbers of
        components or two classifiers can be compared row by row.
    degenerate : bool
        The layer is constant: the table is empty and the explained variance NaN.
    """

    rows: list[ProbeRow]
    pca: PrincipalComponents
    predictions: dict[str, Int[np.ndarray, " m"]] = field(default_factory=dict)
    ks: tuple[int, ...] = ()
    by_components: dict[str, Int[np.ndarray, "ks m"]] = field(default_factory=dict)
    degenerate: bool = False


@dataclass(frozen=True)
class _Curve:
    name: str
    setting: float
    ks: Sequence[int]
    test: Sequence[np.ndarray]
    train: Sequence[np.ndarray] | None
    converged: Sequence[bool]


@dataclass(frozen=True)
class _Layer:
    """Scores and centered raw features of both splits, ready for every probe."""

    labels: Tensor
    ks: list[int]
    scores: Tensor
    queries: Tensor
    raw: Tensor
    raw_queries: Tensor


@checked_arguments
def probe_layer(
    train: LabeledFeatures, test: LabeledFeatures, *, settings: ProbeSettings, ks: Sequence[int] | None = None
) -> LayerProbes:
    """Fit PCA and every probe on one layer.

    Parameters
    ----------
    train, test : LabeledFeatures
        Test rows only ever enter through predictions.
    settings : ProbeSettings
    ks : sequence of int, optional
        Numbers of components; by default 1..20, then factors of 1.25 up to the rank. Values beyond the rank
        are clipped with one warning.

    Returns
    -------
    LayerProbes
        With `degenerate=True` for a constant layer, so that the other layers are still probed.

    Raises
    ------
    ValueError
        For non-finite features, missing classes, mismatched widths or rows, κ beyond n, unreadable labels.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from analysis.probes import FeatureBlocks, LabeledFeatures, ProbeSettings, probe_layer
    >>> generator, labels = torch.Generator().manual_seed(0), np.arange(120) % 3
    >>> def layer():  # three classes that differ in the first three of eight directions
    ...     rows = 3.0 * torch.eye(8)[labels] + torch.randn(120, 8, generator=generator)
    ...     return LabeledFeatures(FeatureBlocks.from_array(rows), labels, network=labels)
    >>> settings = ProbeSettings(rank=8, neighbors=(5,), costs=(0.1,))
    >>> found = probe_layer(layer(), layer(), settings=settings, ks=[1, 2])
    >>> [(row["k"], round(row["accuracy"], 2)) for row in found.rows if row["classifier"] == "svm"]  # k = 0: all
    [(1, 0.66), (2, 0.97), (0, 0.97)]
    """
    check_splits(train, test)
    layer = train.features.layer
    pca = fit_pca(train.features, settings.rank, generator=torch.Generator().manual_seed(settings.seed))
    if pca.degenerate:
        _log.warning("%s: degenerate (constant over the training rows); no probe fitted", layer)
        return LayerProbes([], pca, degenerate=True)
    rank = int(pca.variances.numel())
    scores = pca.scores(train.features)
    data = _Layer(
        labels=torch.as_tensor(train.labels, device=scores.device),
        ks=component_grid(rank) if ks is None else _clipped(ks, rank, layer),
        scores=scores,
        queries=pca.scores(test.features),
        raw=pca.centered(train.features),
        raw_queries=pca.centered(test.features),
    )
    curves = [
        *_knn(data, settings),
        _ncc(data),
        _ridge(data, settings.ridge_penalty * pca.total_variance),
        _svm(data, pca, settings),
    ]
    rows = [row for curve in curves for row in _rows(curve, train, test, pca)]
    chosen = {"knn": curves[0], "ncc": curves[-3], "svm": curves[-1]}
    predictions = {name: curve.test[-1] for name, curve in chosen.items()}
    by_components = {name: np.stack(curve.test[:-1]) for name, curve in chosen.items()}
    return LayerProbes(rows, pca, predictions, tuple(data.ks), by_components)


def _knn(data: _Layer, settings: ProbeSettings) -> list[_Curve]:
    width = [data.raw.shape[1]]
    test = np.concatenate(
        [
            knn_curve(data.scores, data.labels, data.queries, data.ks, settings.neighbors),
            knn_curve(data.raw, data.labels, data.raw_queries, width, settings.neighbors),
        ],
        axis=1,
    )
    train = None
    if settings.knn_on_train:
        votes = [
            knn_curve(side, data.labels, side, ks, settings.neighbors, exclude_self=True)
            for side, ks in ((data.scores, data.ks), (data.raw, width))
        ]
        train = np.concatenate(votes, axis=1)
    grid = [*data.ks, ALL_COMPONENTS]
    solved = [True] * len(grid)
    return [
        _Curve("knn", float(count), grid, list(test[i]), None if train is None else list(train[i]), solved)
        for i, count in enumerate(settings.neighbors)
    ]


def _ncc(data: _Layer) -> _Curve:
    width = [data.raw.shape[1]]
    test, train = (
        [
            *ncc_curve(data.scores, data.labels, queries, data.ks),
            *ncc_curve(data.raw, data.labels, raw_queries, width),
        ]
        for queries, raw_queries in ((data.queries, data.raw_queries), (data.scores, data.raw))
    )
    grid = [*data.ks, ALL_COMPONENTS]
    return _Curve("ncc", np.nan, grid, test, train, [True] * len(grid))


def _ridge(data: _Layer, penalty: float) -> _Curve:
    test, train = (
        list(ridge_curve(data.scores, data.labels, side, data.ks, penalty=penalty))
        for side in (data.queries, data.scores)
    )
    flags = [True] * len(data.ks)
    return _Curve("ridge", penalty, data.ks, test, train, flags)


def _svm(data: _Layer, pca: PrincipalComponents, settings: ProbeSettings) -> _Curve:
    factors = scaling_factors(pca.variances.to(data.scores), pca.total_variance, settings.scaling)
    scores, queries = data.scores * factors, data.queries * factors
    cost = settings.costs[0]
    if len(settings.costs) > 1:
        cost, _ = choose_cost(scores, data.labels, settings.costs, generator=np.random.default_rng(settings.seed))
    path = list(svm_path(scores, data.labels, data.ks, cost=cost, tolerance=settings.tolerance))
    test = [fit.predict(queries[:, :k]) for k, fit in zip(data.ks, path, strict=True)]
    train = [fit.predict(scores[:, :k]) for k, fit in zip(data.ks, path, strict=True)]
    last = path[-1]
    if settings.scaling == "whitening":
        # raw features have no finite whitening beyond the rank: all components are the kept ones
        if data.ks[-1] < scores.shape[1]:
            last = fit_linear_svm(scores, data.labels, cost=cost, start=last, tolerance=settings.tolerance)
        test, train = [*test, last.predict(queries)], [*train, last.predict(scores)]
    else:
        flat = float(factors[0])
        basis = pca.components[: data.ks[-1]].to(data.raw)
        start = LinearSvm(basis.T @ last.weight, last.bias, False, np.inf)
        raw, raw_queries = data.raw * flat, data.raw_queries * flat
        last = fit_linear_svm(raw, data.labels, cost=cost, start=start, tolerance=settings.tolerance)
        test, train = [*test, last.predict(raw_queries)], [*train, last.predict(raw)]
    flags = [*(fit.converged for fit in path), last.converged]
    grid = [*data.ks, ALL_COMPONENTS]
    return _Curve("svm", cost, grid, test, train, flags)


def _rows(curve: _Curve, train: LabeledFeatures, test: LabeledFeatures, pca: PrincipalComponents) -> list[ProbeRow]:
    share = pca.explained_variance
    rows = []
    for i, k in enumerate(curve.ks):
        own = (np.nan, np.nan)
        if curve.train is not None:
            own = (
                float(np.mean(curve.train[i] == train.labels)),
                float(np.mean(curve.train[i] == train.network)),
            )
        rows.append(
            ProbeRow(
                layer=train.features.layer,
                classifier=curve.name,
                width=train.features.width,
                setting=curve.setting,
                k=k,
                evr=1.0 if k == ALL_COMPONENTS else float(share[k - 1]),
                accuracy=float(np.mean(curve.test[i] == test.labels)),
                fidelity=float(np.mean(curve.test[i] == test.network)),
                train_accuracy=own[0],
                train_fidelity=own[1],
                converged=curve.converged[i],
            )
        )
    return rows


def _clipped(ks: Sequence[int], rank: int, layer: str) -> list[int]:
    grid = sorted({min(int(k), rank) for k in ks})
    if max(ks) > rank:
        _log.warning("%s: %d components requested, rank %d: clipped", layer, max(ks), rank)
    return grid
