r"""Kernel matrices of trained networks: plan, compute by tiles, normalise.

Kernels, with f the logits and :math:`g_c = \nabla_\theta f_c`: ``entk`` :math:`g_c \cdot g'_d`, ``trntk`` :math:`\sum_c
g_c \cdot g'_c` and ``pntk`` :math:`(\sum_c g_c) \cdot (\sum_d g'_d)` (arXiv:2305.14585, final version),
``loss_gradient`` :math:`\nabla_\theta L \cdot \nabla_\theta L'`, ``conjugate`` :math:`h \cdot h'` with h the input of
the output layer, ``embedding`` :math:`\sum_\ell a_\ell \cdot a'_\ell` over module outputs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from kernels.contraction.assembly import Assembly
from kernels.contraction.finish import finish_in_file, finish_in_memory, reopen
from kernels.contraction.job import Grouping, Job, Options, array_shapes, prepared, revive_plan
from kernels.contraction.plan import Plan
from kernels.contraction.result import KernelResult
from kernels.contraction.tile_store import FileTileStore, TileStore, load_finished, stored_plan
from kernels.inputs.samples import Labels
from kernels.machine.ranks import owners, world
from kernels.sketched import sketched_kernel


def kernel_matrix(
    model: nn.Module,
    train: Any,
    test: Any = None,
    *,
    kind: str = "trntk",
    normalize: bool | str = True,
    layerwise: Grouping = False,
    precision: str = "float32",
    labels: Labels | None = None,
    test_labels: Labels | None = None,
    layers: Any = "all",
    memory: str | int | None = None,
    out: str | Path | None = None,
    forms: str | Mapping[str, str] | None = None,
    fallback: Sequence[str] = (),
    output: Callable[[Any], Tensor] | None = None,
    output_layer: str | None = None,
    append_one: bool = False,
    eval_mode: bool = False,
    zero_gradient: str = "error",
    batch_size: int | None = None,
    block_rows: int | None = None,
    sketch: str | None = None,
    dim: int | None = None,
    seed: int = 0,
) -> KernelResult:
    """Compute a kernel matrix of any classifier: exact, or estimated from sketches where one is named.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode, on the device to use.
    train, test : Tensor, mapping of tensors, or DataLoader
        Inputs; a mapping is passed as keyword arguments. Loaders yield tensors, mappings or pairs (inputs, labels) in a
        fixed order. Without ``test`` the kernel is train x train, with it test x train.
    kind : {"trntk", "pntk", "entk", "conjugate", "embedding", "loss_gradient"}
        Which kernel.
    normalize : bool or "part"
        Divide by the root of both diagonals (cosine). Layer parts are divided by the total's diagonals, so that they
        add up to the matrix; ``"part"`` divides each by its own.
    layerwise : bool, "tensor", "module" or mapping
        Keep one part per parameter tensor (True), per module, or per named group of parameters or modules.
    precision : {"float32", "float64", "tf32", "bfloat16"}
        Arithmetic; sums are never below float32. float64 runs a converted copy of the model.
    labels, test_labels : Tensor, array or sequence of int, optional
        Class indices for ``loss_gradient``; they win over labels in the data. Test points without labels use
        predicted ones.
    layers : "all", sequence of str, or callable
        Parameters that take part (names or prefixes); for ``embedding`` the modules whose outputs do (default: every
        leaf module save dropout).
    memory : str, int, optional
        Budget for operands, tiles and passes, such as ``"12GiB"``.
    out : path, optional
        A ``.safetensors`` file. Tiles land beside it and a killed run continues from them, bit for bit.
    forms : str or mapping, optional
        Force ``"position"``, ``"shift"``, ``"feature"`` or ``"tokens"`` everywhere it exists, or by parameter
        or module.
    fallback : sequence of str
        Parameters or modules to send through the generic per-sample route in any case.
    output : callable, optional
        Turns what the model returns into logits.
    output_layer, append_one
        For ``conjugate``: the module whose input is h (default: the last linear map before the logits), and whether a
        one is appended for its bias.
    eval_mode : bool
        Switch to evaluation mode for the duration instead of refusing training mode.
    zero_gradient : {"error", "zero"}
        Under a cosine, refuse samples whose features are all zero, or give them a row of zeros.
    batch_size, block_rows : int, optional
        Samples per forward pass and per tile side, in place of the planner's. Equal tiles give equal bits on any
        number of processes.
    sketch : {None, "tensorsketch", "countsketch", "rademacher"}
        Estimate ``trntk``, ``pntk`` or ``loss_gradient`` from ``dim`` sketched features per sample and class; the map
        and its expected error are recorded in ``metadata["sketch"]``.
    dim, seed : int
        Of the sketch.

    Returns
    -------
    KernelResult
        Usable as an array; with diagonals, parts and metadata.

    Raises
    ------
    ValueError, TypeError, RuntimeError, MemoryError
        With the sample, layer or option concerned.

    Notes
    -----
    With an initialised ``torch.distributed`` group the row blocks are shared between ranks, and every rank returns the
    whole kernel.
    """
    options = Options(
        kind=kind,
        normalize=normalize,
        layerwise=layerwise,
        precision=precision,
        labels=labels,
        test_labels=test_labels,
        layers=layers,
        memory=memory,
        out=out,
        forms=forms,
        fallback=fallback,
        output=output,
        output_layer=output_layer,
        append_one=append_one,
        eval_mode=eval_mode,
        zero_gradient=zero_gradient,
        batch_size=batch_size,
        block_rows=block_rows,
    )
    if sketch is not None:
        return sketched_kernel(model, train, test, options, sketch=sketch, dim=dim, seed=seed)
    if dim is not None:
        raise ValueError(f"dim={dim} has no meaning without sketch=: name a sketch, or leave it out")
    start = time.perf_counter()
    with prepared(model, train, test, options) as job:
        result = _in_memory(job) if out is None else _in_file(job, Path(out))
    result.metadata["seconds"] = time.perf_counter() - start
    return result


def plan_kernel(model: nn.Module, train: Any, test: Any = None, **options: Any) -> Plan:
    """Plan a kernel without computing it; ``print(plan)`` shows form, work, storage and time of each layer.

    Parameters
    ----------
    model, train, test, **options
        As for :func:`kernel_matrix`.

    Returns
    -------
    Plan
        Forms, tile sizes, FLOPs, bytes and expected seconds.

    Raises
    ------
    MemoryError
        When the kernel cannot fit, naming the option that would.
    """
    with prepared(model, train, test, Options(**options)) as job:
        return job.plan


def _in_memory(job: Job) -> KernelResult:
    store = TileStore(array_shapes(job), job.precision.passes)
    _run(job, store)
    return finish_in_memory(store, job)


def _in_file(job: Job, out: Path) -> KernelResult:
    found = load_finished(out, job.fingerprint)
    if found is not None:
        return reopen(*found, job)
    plan = stored_plan(out, job.fingerprint)
    if plan is not None:  # the same tiles and forms as before the interruption, so the same bits
        job.plan = revive_plan(plan)
    out.parent.mkdir(parents=True, exist_ok=True)
    store = FileTileStore(array_shapes(job), job.precision.passes, out, job.fingerprint, asdict(job.plan), world()[0])
    try:
        _run(job, store)
        return finish_in_file(store, job)
    finally:
        store.close()


def _run(job: Job, store: TileStore) -> None:
    rank, processes = world()
    assembly = Assembly(
        job.source, job.rows, job.columns, job.plan, job.precision, job.device, job.groups, job.needs_norms
    )
    assigned = owners(-(-job.plan.rows // job.plan.row_block), job.square, processes)
    assembly.run(store, lambda block: assigned[block] == rank)
