"""What the report reads of layer kernels: one row per layer, one row per route to the same kernel."""

from __future__ import annotations

from typing import TypedDict

from pipeline.engine.artifacts import Artifact

LAYERS = "layers.parquet"
AGREEMENT = "agreement.parquet"
WHOLE = "all layers"
"""Name of the row of the sum over layers."""


class LayerKernelRow(TypedDict):
    """The kernel of one layer: test accuracy of its machine, alignment with the labels, effective rank, trace."""

    layer: str
    accuracy: float
    alignment: float
    effective_rank: float
    trace_share: float


class RouteRow(TypedDict):
    """Largest entry difference of one route to the float64 loop."""

    method: str
    precision: str
    difference: float


def read_layer_kernels(kernels: Artifact) -> list[LayerKernelRow]:
    """Read one row for all layers together, then one per layer in the network's order."""
    return kernels.rows(LAYERS)


def read_routes(kernels: Artifact) -> list[RouteRow]:
    """Read one row per route and precision."""
    return kernels.rows(AGREEMENT)
