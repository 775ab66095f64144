"""Stage ``layer_kernels``: the tangent kernel of a network layer by layer, and the same kernel by every route."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from analysis.classifier_metrics import accuracy, decisions
from kernels import kernel_matrix
from kernels.diagnostics import effective_rank, kernel_spectrum, target_alignment
from kernels.jacobians import autograd_kernel, layer_jacobians
from pipeline.data.datamodule import KernelInputs, open_data
from pipeline.engine.build import Build
from pipeline.errors import UserError
from pipeline.machine.arithmetic import arithmetic
from pipeline.stages.features.layers import input_rows, split_features
from pipeline.stages.kernel.read import recognized
from pipeline.stages.layer_kernels.read import AGREEMENT, LAYERS, WHOLE, LayerKernelRow, RouteRow
from pipeline.stages.surrogate.machine import make_surrogate
from pipeline.training.networks import output_layer, trained_network

COTANGENTS = {"pntk": "sum", "trntk": "class"}
"""Kernels that decompose over layers, and what is pulled back for each."""


def layer_kernels(build: Build) -> dict[str, Any]:
    """Split the network's kernel by module, fit the configured kernel machine on each part, and compare routes.

    Writes ``layers.parquet``: for every module and for all together the share of the trace, effective rank, centered
    alignment with the labels and test accuracy of the machine on the part's own cosine kernel (torchNTK,
    arXiv 2205.12372, section 4); ``agreement.parquet``: for each route and precision the largest entry difference to
    the float64 loop, in units of sqrt(K_ii K_jj), on ``layer_kernels.points`` training points.

    Raises
    ------
    UserError
        For a kernel that is not a sum over layers, or data without classes.
    """
    config = build.config
    kind = config.kernel.kind
    if kind not in COTANGENTS:
        raise UserError(
            f"stage=layer_kernels splits a sum over layers, and kernel.kind={kind} is not one. "
            f"Choose kernel={' or kernel='.join(COTANGENTS)}."
        )
    data = open_data(config, build.inputs["data"])
    if not data.n_classes:
        raise UserError(f"stage=layer_kernels measures accuracy, but data={config.data.name} has no classes.")
    train = data.kernel_inputs("train", config.kernel.n_train)
    test = data.kernel_inputs("test", config.kernel.n_test)
    with arithmetic(config.numerics) as device:
        network = trained_network(config, data, build.inputs["weights"]).to(device)
        rows = _layers(build, network, train, test)
        few = input_rows(train.inputs, slice(config.layer_kernels.points), device)
        methods = _agreement(network, few, kind)
        logits = split_features(network, test, ["penultimate"], "flatten", output_layer(config))["logits"].numpy()
        decided = decisions(logits[None, :, 0] if logits.shape[1] == 1 else logits[None])
    build.write_rows(LAYERS, rows)
    build.write_rows(AGREEMENT, methods)
    frozen = [name for name, parameter in network.named_parameters() if not parameter.requires_grad]
    return {
        "kind": kind,
        "n_train": len(train.ids),
        "n_test": len(test.ids),
        "accuracy": {row["layer"]: row["accuracy"] for row in rows},
        "network_accuracy": float(accuracy(decided, test.labels.numpy())[0]),
        "frozen": frozen,
        "largest_difference": max(row["difference"] for row in methods if row["precision"] == "float64"),
    }


def _layers(build: Build, network: nn.Module, train: KernelInputs, test: KernelInputs) -> list[LayerKernelRow]:
    config = build.config
    options: dict[str, Any] = {
        "kind": config.kernel.kind,
        "normalize": "part",
        "layerwise": "module",
        "precision": config.kernel.precision,
        "memory": config.kernel.memory,
        "certify": config.kernel.certify,
        # a layer behind dead units has no gradient for some points; its row of zeros is not an error here
        "zero_gradient": "zero",
    }
    outs = [recognized(build.scratch / f"{name}.safetensors") for name in ("train", "test")]
    square = kernel_matrix(network, train.inputs, out=outs[0], **options)
    cross = kernel_matrix(network, train.inputs, test.inputs, out=outs[1], **options)
    shares = _trace_shares(network, train, config.kernel.kind)
    labels, truth = train.labels.numpy(), test.labels.numpy()
    rows: list[LayerKernelRow] = []
    in_order = [name for name, _ in network.named_modules() if name in square.parts]
    for name in (WHOLE, *in_order):
        gram = (square.matrix if name == WHOLE else square.parts[name]).cpu()
        machine = make_surrogate(config, config.numerics.device)
        machine.fit(gram.numpy().astype(np.float64), labels)
        crossed = (cross.matrix if name == WHOLE else cross.parts[name]).cpu()
        scores = machine.log_scores(crossed.numpy().astype(np.float64))
        rows.append(
            {
                "layer": name,
                "accuracy": float(np.mean(machine.classes_[scores.argmax(1)] == truth)),
                "alignment": target_alignment(gram, train.labels),
                "effective_rank": effective_rank(kernel_spectrum(gram)),
                "trace_share": 1.0 if name == WHOLE else shares[name],
            }
        )
        build.say(f"{name}: accuracy {rows[-1]['accuracy']:.4f}")
    return rows


def _trace_shares(network: nn.Module, train: KernelInputs, kind: str) -> dict[str, float]:
    """Mean over points of each module's share of the unnormalized diagonal."""
    few = input_rows(train.inputs, slice(128), next(network.parameters()).device)
    parts = kernel_matrix(network, few, kind=kind, normalize=False, layerwise="module").parts
    sums = {name: float(part.diagonal().double().sum()) for name, part in parts.items()}
    total = sum(sums.values())
    return {name: value / total for name, value in sums.items()}


def _agreement(network: nn.Module, few: Any, kind: str) -> list[RouteRow]:
    cotangent = COTANGENTS[kind]
    reference = autograd_kernel(network, few, method="loop", cotangent=cotangent, precision="float64")
    assert isinstance(reference, Tensor)
    norms = reference.diagonal().clamp_min(torch.finfo(torch.float64).tiny).sqrt()
    rows: list[RouteRow] = []
    for precision in ("float64", "float32"):
        exact = precision == "float64"
        found = {
            "loop": reference if exact else autograd_kernel(network, few, cotangent=cotangent, precision=precision),
            "vmap": autograd_kernel(network, few, method="vmap", cotangent=cotangent, precision=precision),
            "Jacobian written out": _from_jacobians(network, few, cotangent, precision),
            "layer rules": kernel_matrix(network, few, kind=kind, normalize=False, precision=precision).matrix,
            "sum of layer parts": _sum_of_parts(network, few, kind, precision),
        }
        for method, kernel in found.items():
            assert isinstance(kernel, Tensor)
            difference = (kernel.double() - reference).abs() / (norms[:, None] * norms)
            rows.append({"method": method, "precision": precision, "difference": float(difference.max())})
    return rows


def _from_jacobians(network: nn.Module, inputs: Any, cotangent: str, precision: str) -> Tensor:
    jacobians = layer_jacobians(network, inputs, cotangent=cotangent, precision=precision)
    flat = torch.cat([values.flatten(2) if cotangent == "class" else values.flatten(1)[:, None]
                      for values in jacobians.values()], 2)  # fmt: skip
    return torch.einsum("icp,jcp->ij", flat, flat)


def _sum_of_parts(network: nn.Module, inputs: Any, kind: str, precision: str) -> Tensor:
    parts = kernel_matrix(network, inputs, kind=kind, normalize=False, layerwise=True, precision=precision).parts
    return torch.stack(list(parts.values())).sum(0)
