"""One forward pass traced and pulled back: gradient factors and outputs of every layer, for all samples of a batch."""

from __future__ import annotations

from kernels.capture.factor_stream import FactorBatch, layer_factors
from kernels.capture.layer_outputs import (
    FeatureBatch,
    conjugate_source,
    find_output_layer,
    layer_features,
    module_names,
)

__all__ = [
    "conjugate_source",
    "FactorBatch",
    "FeatureBatch",
    "find_output_layer",
    "layer_factors",
    "layer_features",
    "module_names",
]
