"""One probed layer: its rows as splits, its collapse measures, and which test rows each surrogate gets right."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from analysis.probes.curves import class_means
from analysis.probes.labeled_features import LabeledFeatures
from analysis.probes.layer import LayerProbes, ProbeSettings
from analysis.probes.moments import FeatureBlocks
from analysis.probes.neural_collapse import center_mismatch, measure_neural_collapse, self_duality_gap
from analysis.probes.onset import NO_ONSET, Onset
from pipeline.config.probes import ProbesConfig
from pipeline.stages.probes.read import LOW_VARIANCE, SUFFICIENT, CollapseRow, OnsetColumns

SURROGATES = ("knn", "ncc", "svm")
"""Whose agreement marks the onset of collapse."""
Predictions = Mapping[str, np.ndarray]
"""Test predictions of each surrogate."""


def probe_settings(config: ProbesConfig) -> ProbeSettings:
    """Read the settings of the full probes."""
    return ProbeSettings(
        rank=config.components,
        neighbors=tuple(config.neighbors),
        costs=tuple(config.costs),
        scaling=config.scaling,  # type: ignore[arg-type]
        tolerance=config.solver_tolerance,
        seed=config.seed,
    )


def quick_settings(config: ProbesConfig) -> ProbeSettings:
    """Choose settings that suffice for raw features: the first κ and the middle cost."""
    middle = sorted(config.costs)[len(config.costs) // 2]
    return dataclasses.replace(probe_settings(config), neighbors=(config.neighbors[0],), costs=(middle,))


def layer_split(arrays: Mapping[str, Tensor], split: str, layer: str) -> LabeledFeatures:
    """Rows of one layer under ``SPLIT.LAYER`` with ``SPLIT.labels`` and the network's own predictions."""
    features = FeatureBlocks.from_array(arrays[f"{split}.{layer}"], layer=layer)
    return LabeledFeatures(features, arrays[f"{split}.labels"].numpy(), arrays[f"{split}.logits"].argmax(1).numpy())


def output_weights(weights: Mapping[str, Tensor], classes: int) -> Tensor | None:
    """Weights of the output layer: the last matrix with one row for each class, None where there is none."""
    matrices = [w for w in weights.values() if w.ndim == 2 and w.shape[0] == classes]
    return matrices[-1] if matrices else None


def collapse_row(
    train: LabeledFeatures, predictions: Predictions | None, test: LabeledFeatures, classes: int, head: Tensor | None
) -> CollapseRow:
    """NC1 and NC2 on training rows, NC3 at the penultimate layer (else NaN), NC4 on test rows."""
    layer = train.features.layer
    measures = measure_neural_collapse(train.features, train.labels, classes)
    nc3 = math.nan
    if layer == "penultimate" and head is not None and head.shape[1] == train.features.width:
        rows = torch.cat(list(train.features.read()))
        nc3 = self_duality_gap(head, class_means(rows, torch.as_tensor(train.labels)))
    nc4 = math.nan if predictions is None else center_mismatch(predictions["ncc"], test.network)
    return {
        "layer": layer,
        "width": train.features.width,
        **measures,
        "nc3": nc3,
        "nc4": nc4,
        "degenerate": predictions is None,
    }


def right_answers(predictions: Predictions | None, truth: np.ndarray) -> list[Bool[np.ndarray, " m"]]:
    """Whether each surrogate is right on each test row; never on a degenerate layer (None)."""
    return [truth < 0 if predictions is None else predictions[name] == truth for name in SURROGATES]


@dataclass(frozen=True)
class FewComponents:
    """How three surrogates answer from few components of one layer, row by row.

    Attributes
    ----------
    at_sufficient, at_low_variance : list of bool ndarray, shape (m,)
        Whether each surrogate is right from about ``SUFFICIENT`` components, and from as many as explain at most
        ``LOW_VARIANCE`` of the variance.
    counts : tuple of int
        Both numbers of components; 0 where none is below that share, or where nothing was fitted.
    """

    at_sufficient: list[Bool[np.ndarray, " m"]]
    at_low_variance: list[Bool[np.ndarray, " m"]]
    counts: tuple[int, int]


def few_components(found: LayerProbes, truth: np.ndarray) -> FewComponents:
    """Compare the surrogates' answers from few components with the truth."""
    never = [truth < 0 for _ in SURROGATES]
    if found.degenerate:
        return FewComponents(never, never, (0, 0))

    def right(place: int) -> list[np.ndarray]:
        return [found.by_components[name][place] == truth for name in SURROGATES]

    share = found.pca.explained_variance.numpy()
    middle = min(range(len(found.ks)), key=lambda i: abs(found.ks[i] - SUFFICIENT))
    low = [i for i, k in enumerate(found.ks) if share[k - 1] <= LOW_VARIANCE]
    fewest = right(low[-1]) if low else never
    return FewComponents(right(middle), fewest, (found.ks[middle], found.ks[low[-1]] if low else 0))


def onset_columns(onset: Onset, layers: Sequence[str]) -> OnsetColumns:
    """Describe an onset by plain values: layer, index (None without one) and both ends of its interval."""
    name = {NO_ONSET: "no onset"}
    return {
        "onset": onset.layer,
        "onset_index": None if onset.index == NO_ONSET else onset.index,
        "onset_low": name.get(onset.low, layers[onset.low]),
        "onset_high": name.get(onset.high, layers[onset.high]),
    }
