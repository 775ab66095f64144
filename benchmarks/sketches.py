"""Sketched pNTK features: time, memory and error of this project's maps and of what a user would pick instead.

    python -m benchmarks.sketches --all [--python PEERS_PYTHON] [--suites mlp] [--dim 1024]
    python -m benchmarks.sketches --cell resnet18:tensorsketch
    python -m benchmarks.sketches --scale 100000

Every cell is a separate process with two threads, measured as in :mod:`benchmarks.kernels`. The error is the root of
the mean square difference of cosines to the exact kernel, over all pairs of the first samples. ``--scale`` stores the
features of that many samples of an MLP in a file and compares a block of their kernel with the exact one.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import kernel_cells
from benchmarks.kernel_cells import Inputs
from benchmarks.kernel_engines import Selected, functional_gradients
from benchmarks.kernels import THREADS, measured, run_process, table

PAIRED = 32  # samples whose cosines are compared with the exact kernel


def ours(sketch: str, model: nn.Module, inputs: Inputs, dim: int) -> Tensor:
    from kernels import kernel_features

    return kernel_features(model, inputs, kind="pntk", sketch=sketch, dim=dim).values


def in_chunks(project: Callable[[Tensor], Tensor], model: nn.Module, inputs: Inputs) -> Tensor:
    """Gradients of the summed logits by `torch.func`, 16 samples at a time, each chunk projected."""
    one, parts = Selected(model, None), []
    for start in range(0, kernel_cells.count(inputs), 16):
        rows = slice(start, start + 16)
        chunk = inputs[rows] if isinstance(inputs, Tensor) else {k: v[rows] for k, v in inputs.items()}
        parts.append(project(functional_gradients(one, chunk)))
    return torch.cat(parts)


def trak(model: nn.Module, inputs: Inputs, dim: int) -> Tensor:
    """TRAK's projector for CPUs: a dense map of random signs, made block by block."""
    from trak.projectors import BasicProjector, ProjectionType

    size = sum(p.numel() for p in model.parameters())
    projector = BasicProjector(size, dim, 0, ProjectionType.rademacher, "cpu", block_size=min(dim, 100))
    return in_chunks(lambda rows: projector.project(rows, model_id=0) / dim**0.5, model, inputs)


def dattri(model: nn.Module, inputs: Inputs, dim: int) -> Tensor:
    """dattri's dense map of random signs; its sparse one exists on CUDA only."""
    from dattri.func.projection import random_project

    def project(rows: Tensor) -> Tensor:
        return random_project(rows, len(rows), dim, 16, proj_seed=0, proj_type="rademacher", device="cpu")(rows)

    return in_chunks(project, model, inputs)


def sklearn_sparse(model: nn.Module, inputs: Inputs, dim: int) -> Tensor:
    """scikit-learn's sparse random projection (Achlioptas; Li et al.) of whole gradients."""
    from sklearn.random_projection import SparseRandomProjection

    fitted: list[Any] = []

    def project(rows: Tensor) -> Tensor:
        if not fitted:
            fitted.append(SparseRandomProjection(dim, random_state=0).fit(rows.numpy()))
        return torch.from_numpy(fitted[0].transform(rows.numpy()))

    return in_chunks(project, model, inputs)


ENGINES: dict[str, Callable[[nn.Module, Inputs, int], Tensor]] = {
    "tensorsketch": partial(ours, "tensorsketch"),
    "countsketch": partial(ours, "countsketch"),
    "rademacher": partial(ours, "rademacher"),
    "trak": trak,
    "dattri": dattri,
    "sklearn_sparse": sklearn_sparse,
}


def cosines(gram: Tensor) -> Tensor:
    scale = gram.diagonal().sqrt()
    return gram / scale[:, None] / scale


def cosine_error(features: Tensor, model: nn.Module, inputs: Inputs) -> float:
    """Root mean square difference of off-diagonal cosines to the exact kernel, over the first samples."""
    n = min(PAIRED, len(features))
    exact = cosines(kernel_cells.truth(model, inputs, "pntk", n))
    found = cosines(features[:n].double() @ features[:n].double().T)
    above = torch.ones(n, n, dtype=torch.bool).triu(1)
    return float((found - exact)[above].square().mean().sqrt())


def run_cell(suite: str, engine: str, samples: int | None, dim: int) -> dict[str, object]:
    torch.set_num_threads(THREADS)
    warnings.simplefilter("ignore")
    model, inputs = kernel_cells.build(suite, samples)
    function = ENGINES[engine]
    function(model, kernel_cells.first(inputs, 2), dim)
    features, cost = measured(lambda: function(model, inputs, dim))
    error = cosine_error(features.detach(), model, inputs)
    return cost | {"error": error, "n": len(features), "dim": dim}


def run_scale(samples: int, dim: int) -> dict[str, object]:
    """Store features of many samples of the MLP, and tell what a Gram matrix of them would have been."""
    from kernels import kernel_features

    torch.set_num_threads(THREADS)
    model, inputs = kernel_cells.build("mlp", samples)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "features.safetensors"
        found, cost = measured(lambda: kernel_features(model, inputs, kind="pntk", dim=dim, out=out))
        stored = out.stat().st_size
        error = cosine_error(found.values[:PAIRED].clone(), model, inputs)
    return cost | {"n": samples, "dim": dim, "error": error, "file_mb": stored / 2**20, "gram_mb": samples**2 / 2**18}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cell", help="SUITE:ENGINE, in this process")
    parser.add_argument("--all", action="store_true", help="every cell, each in its own process")
    parser.add_argument("--scale", type=int, help="store the features of that many samples, in this process")
    parser.add_argument("--samples", type=int, help="other N than the suite's")
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--suites", nargs="+", default=["mlp", "resnet18", "gpt2"], choices=list(kernel_cells.SUITES))
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=list(ENGINES))
    parser.add_argument("--python", default=sys.executable, help="interpreter of the peers' environment")
    options = parser.parse_args()
    if options.cell:
        print(json.dumps(run_cell(*options.cell.split(":"), options.samples, options.dim)))
    elif options.scale:
        print(json.dumps(run_scale(options.scale, options.dim)))
    elif options.all:
        for suite in options.suites:
            rows = {}
            for engine in options.engines:
                arguments = ["--cell", f"{suite}:{engine}", "--dim", str(options.dim)]
                rows[engine] = run_process(options.python, "benchmarks.sketches", arguments, options.samples)
            title = f"{kernel_cells.SUITES[suite].about}, pNTK features, dim={options.dim}"
            print(table(title, rows, "tensorsketch", "error of cosines"), flush=True)
    else:
        parser.error("choose --cell, --all or --scale")


if __name__ == "__main__":
    main()
