"""Curvature of the training loss on the probe batch, beside its kernel: what a snapshot records, and what it costs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kernels.curvature import MATRICES, CurvatureSpectrum, LossCurvature, curvature_spectrum, require_lanczos_memory
from kernels.inputs.samples import NotFiniteError
from kernels.machine.memory import show_bytes
from models.classifier_module import ClassifierModule
from models.logits import Batch, logits_of, model_inputs, targets_of
from pipeline.config.snapshots import CurvatureConfig
from pipeline.data.batches import cast
from pipeline.errors import UserError

SLOPES = {"hessian": 4, "gauss_newton": 3}
"""Passes through the network that a product takes, about: of a kept gradient twice, or one push and one pull."""


def curvature_arrays(
    module: ClassifierModule, network: nn.Module, batch: Batch, config: CurvatureConfig, memory_format: str
) -> dict[str, Tensor]:
    """Measure the Hessian and the Gauss-Newton matrix of the loss that is trained, in evaluation mode and float64.

    Returns
    -------
    dict of str to Tensor
        For each of ``hessian`` and ``gauss_newton``: ``MATRIX.eigenvalues`` (k,), largest first, their
        ``MATRIX.errors``, and ``MATRIX.nodes`` and ``MATRIX.weights`` of the density. NaN where the weights, or the
        loss, are not finite.

    Raises
    ------
    UserError
        If the network cannot be differentiated so, in one sentence.
    """
    trained = [p for p in network.parameters() if p.requires_grad]
    if not all(bool(p.isfinite().all()) for p in network.parameters()):
        return not_finite(config, sum(p.numel() for p in trained))
    double = cast(batch, torch.float64, memory_format)
    targets = targets_of(double)
    offset = initial_outputs(module, double)

    def loss(outputs: Tensor, rows: slice) -> Tensor:
        own = outputs if offset is None else outputs - offset[rows].to(outputs.device)
        return module.training_loss(own, targets[rows].to(outputs.device))

    try:
        curvature = LossCurvature(network, model_inputs(double), loss)
        found = {
            matrix: curvature_spectrum(
                curvature,
                matrix,
                count=config.eigenvalues,
                products=config.products,
                steps=config.steps,
                probes=config.probes,
                memory=config.memory,
            )
            for matrix in MATRICES
        }
    except NotFiniteError:  # finite weights of a training that diverges
        return not_finite(config, sum(p.numel() for p in trained))
    except (ValueError, NotImplementedError) as error:
        raise UserError(
            f"snapshots.record=[curvature] cannot be measured for this network: {str(error).rstrip('.')}."
        ) from error
    return {name: value for matrix, one in found.items() for name, value in _named(matrix, one).items()}


def initial_outputs(module: ClassifierModule, batch: Batch) -> Tensor | None:
    """Give the outputs at initialization that the loss subtracts, in float64; None where it subtracts none."""
    if module.initial is None:
        return None
    dtype = next(module.initial.parameters()).dtype
    with torch.no_grad():
        device = next(module.initial.parameters()).device
        own = {name: value.to(device) for name, value in cast(batch, dtype).items()}
        return logits_of(module.initial, own).double()


def not_finite(config: CurvatureConfig, parameters: int) -> dict[str, Tensor]:
    """Give the arrays of a network that has no curvature."""
    count = min(config.eigenvalues, parameters)
    shapes = {"eigenvalues": count, "errors": count, "nodes": 1, "weights": 1}
    return {
        f"{matrix}.{name}": torch.full((size,), torch.nan, dtype=torch.float64)
        for matrix in MATRICES
        for name, size in shapes.items()
    }


def _named(matrix: str, found: CurvatureSpectrum) -> dict[str, Tensor]:
    arrays = {
        "eigenvalues": found.top.values,
        "errors": found.top.errors,
        "nodes": found.density.nodes,
        "weights": found.density.weights,
    }
    return {f"{matrix}.{name}": torch.from_numpy(value.copy()) for name, value in arrays.items()}


def curvature_plan(network: nn.Module, config: CurvatureConfig, rows: int, moments: int, trained_rows: int) -> str:
    """Say before training what the curvature will take: products, their share of the training, and memory.

    Parameters
    ----------
    network : nn.Module
        Not yet trained.
    config : CurvatureConfig
        What is measured.
    rows, moments : int
        Rows of the probe batch, and snapshots that are still to be taken.
    trained_rows : int
        Rows that training passes through the network, over all epochs.

    Raises
    ------
    UserError
        If the vectors do not fit into ``snapshots.curvature.memory``.
    """
    parameters = sum(p.numel() for p in network.parameters() if p.requires_grad)
    try:
        held = require_lanczos_memory(parameters, config.products, config.steps, config.memory)
    except ValueError as error:
        raise UserError(
            f"snapshots.record=[curvature]: {error} (all three are settings of snapshots.curvature)."
        ) from error
    each = min(config.products, parameters) + config.probes * min(config.steps, parameters)
    # A step of training is about three passes of each row, one forward and two back
    share = moments * rows * each * sum(SLOPES.values()) / (3 * max(trained_rows, 1))
    return (
        f"curvature at {moments} steps: up to {each} products with each of {len(MATRICES)} matrices, of {rows} rows in "
        f"float64, at most {share:.2g} times the arithmetic of the training, and {show_bytes(held)}"
    )
