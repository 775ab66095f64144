"""What other stages read of a kernel: its Gram matrices, joined with labels and the network's own outputs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from analysis.checks import check_every_class
from kernels.contraction.kernel_file import is_kernel_file
from pipeline.data.datamodule import open_data
from pipeline.engine.artifacts import Artifact
from pipeline.engine.build import Build
from pipeline.errors import UserError
from pipeline.machine.arithmetic import arithmetic
from pipeline.machine.progress import say
from pipeline.stages.train.read import has_outputs, outputs_at, read_network_outputs
from pipeline.training.evaluation import split_outputs
from pipeline.training.fit import make_module
from pipeline.training.networks import trained_network

GRAM = "gram.safetensors"
SPECTRUM = "spectrum.safetensors"


@dataclass(frozen=True)
class KernelSide:
    """The training points (a square) or one test split (test x train).

    Attributes
    ----------
    kernel : ndarray, shape (m, n)
        Mapped from the artifact's file, not read into memory.
    ids, labels : ndarray of int64, shape (m,)
    network : ndarray, shape (m, C)
        The network's unnormalized log-probabilities.
    """

    kernel: Float[np.ndarray, "m n"]
    ids: Int[np.ndarray, " m"]
    labels: Int[np.ndarray, " m"]
    network: Float[np.ndarray, "m C"]


def read_gram(kernel: Artifact) -> dict[str, np.ndarray]:
    """Map the matrices (``train`` n x n, further splits m x n), ids and labels of a kernel without reading them."""
    return mapped_arrays(kernel.path(GRAM))


def read_spectrum_shares(kernel: Artifact) -> Float[np.ndarray, " n"]:
    """Read the eigenvalues of the training square, descending and divided by its trace: all of them, or the largest."""
    arrays = kernel.arrays(SPECTRUM)
    return arrays["eigenvalues"] / arrays["trace"]


def read_kernel_sides(build: Build) -> tuple[KernelSide, dict[str, KernelSide]]:
    """Read the training side and every test split of the run's kernel, in the order of ``kernel.test_splits``.

    Raises
    ------
    UserError
        If the task is not classification, or the weights come without outputs for these points.
    """
    config = build.config
    arrays = read_gram(build.inputs["kernel"])
    if not np.issubdtype(arrays["train_labels"].dtype, np.integer):
        raise UserError("A surrogate classifies; this kernel comes from a regression task.")
    weights = build.inputs["weights"]
    splits = ["train", *config.kernel.test_splits]
    ids_of = {name: np.array(arrays[f"{name}_ids"]) for name in splits}
    outputs = read_network_outputs(config, weights) if has_outputs(weights) else _computed_outputs(build, ids_of)
    sides = {}
    for name, ids in ids_of.items():
        labels = np.array(arrays[f"{name}_labels"])
        sides[name] = KernelSide(arrays[name], ids, labels, outputs_at(outputs, name, ids))
    train = sides.pop("train")
    check_every_class(train.labels, train.network.shape[1], "the kernel's training points")
    return train, sides


def _computed_outputs(build: Build, ids_of: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run a network that comes without outputs over the kernel's rows."""
    config = build.config
    data = open_data(config, build.inputs["data"])
    rows = {name: data.places(name, torch.from_numpy(ids)) for name, ids in ids_of.items()}
    with arithmetic(config.numerics) as device:
        network = trained_network(config, data, build.inputs["weights"])
        module = make_module(network, data, config, steps_per_epoch=1).to(device)
        found = split_outputs(module, data, list(rows), memory_format=config.numerics.memory_format, rows=rows)
    return {name: values.numpy() for name, values in found.items()}


def mapped_arrays(path: Path) -> dict[str, np.ndarray]:
    """Map the arrays of a safetensors file copy-on-write, so that a kernel larger than memory is read by blocks."""
    kinds = {"F32": np.float32, "F64": np.float64, "I64": np.int64}
    with path.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(size))
    return {
        name: np.memmap(path, kinds[entry["dtype"]], "c", 8 + size + entry["data_offsets"][0], tuple(entry["shape"]))
        for name, entry in header.items()
        if name != "__metadata__"
    }


def recognized(out: Path) -> Path:
    """Return a kernel's file in scratch after deleting one that the disk has damaged beyond recognition.

    One that is recognized is checked by the kernel itself, which computes it again where it is damaged.
    """
    if out.exists() and not is_kernel_file(out):
        say(f"  {out} is damaged beyond recognition: it is computed again")
        out.unlink()
    return out
