r"""Kernel matrices of trained networks: plan, compute by tiles, normalize.

Kernels, with f the logits and :math:`g_c = \nabla_\theta f_c`: ``entk`` :math:`g_c \cdot g'_d`, ``trntk`` :math:`\sum_c
g_c \cdot g'_c` and ``pntk`` :math:`(\sum_c g_c) \cdot (\sum_d g'_d)` (arXiv:2305.14585, final version),
``loss_gradient`` :math:`\nabla_\theta L \cdot \nabla_\theta L'`, ``conjugate`` :math:`h \cdot h'` with h the input of
the output layer, ``embedding`` :math:`\sum_\ell a_\ell \cdot a'_\ell` over module outputs.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any, Unpack

from torch import nn

from kernels.capture.certificate import MisreadError
from kernels.contraction.assembly import Assembly
from kernels.contraction.finish import finish_in_file, finish_in_memory, reopen
from kernels.contraction.job import Job, array_shapes, prepared, revive_plan
from kernels.contraction.kernel_file import load_finished
from kernels.contraction.plan import Plan
from kernels.contraction.result import KernelResult
from kernels.contraction.tile_store import FileTileStore, TileStore, stored_plan
from kernels.contraction.timing import timed_plan
from kernels.inputs.options import KernelOptions, documents, kernel_options
from kernels.machine.ranks import owners, world
from kernels.sketched import sketched_kernel


@documents(KernelOptions)
def kernel_matrix(
    model: nn.Module,
    train: Any,
    test: Any = None,
    *,
    sketch: str | None = None,
    dim: int | None = None,
    seed: int = 0,
    **options: Unpack[KernelOptions],
) -> KernelResult:
    """Compute a kernel matrix of any classifier: exact, or estimated from sketches where one is named.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode, on the device to use.
    train, test : Tensor, mapping of tensors, DataLoader, or other data
        Inputs; a mapping is passed as keyword arguments. Loaders, generators and lists yield tensors, mappings or pairs
        (inputs, labels) in a fixed order, and are read once; a ``datasets.Dataset`` and lists of samples are stacked.
        Without ``test`` the kernel is train x train, with it test x train.
    sketch : {None, "tensorsketch", "countsketch", "rademacher"}
        Estimate ``trntk``, ``pntk`` or ``loss_gradient`` from ``dim`` sketched features per sample and class; the map
        and its expected error are recorded in ``metadata["sketch"]``.
    dim, seed : int
        Of the sketch.
    **options : KernelOptions
        Kind, normalization, arithmetic, memory and more: see the section Options, or ``help(kernels.KernelOptions)``.

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
    With an initialized ``torch.distributed`` group the row blocks are shared between ranks, and every rank returns the
    whole kernel.

    Examples
    --------
    >>> import torch
    >>> from kernels import kernel_matrix
    >>> model = torch.nn.Linear(2, 3).eval()
    >>> points = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> kernel_matrix(model, points, kind="trntk", normalize=False).matrix  # 3 classes times (x @ x.T + 1)
    tensor([[6., 3., 6.],
            [3., 6., 6.],
            [6., 6., 9.]])
    """
    chosen = kernel_options(**options)
    if sketch is not None:
        return sketched_kernel(model, train, test, chosen, sketch=sketch, dim=dim, seed=seed)
    if dim is not None:
        raise ValueError(f"dim={dim} has no meaning without sketch=: name a sketch, or leave it out")
    start = time.perf_counter()
    out = chosen["out"]
    with prepared(model, train, test, chosen) as job:
        result = _in_memory(job) if out is None else _in_file(job, Path(out))
    result.metadata["file"] = None if out is None else str(out)
    result.metadata["seconds"] = time.perf_counter() - start
    return result


@documents(KernelOptions)
def plan_kernel(model: nn.Module, train: Any, test: Any = None, **options: Unpack[KernelOptions]) -> Plan:
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

    Examples
    --------
    >>> import torch
    >>> from kernels import plan_kernel
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3)).eval()
    >>> plan = plan_kernel(model, torch.eye(2), kind="pntk")
    >>> [(layer.names, layer.form) for layer in plan.layers]
    [(('0.weight', '0.bias'), 'position'), (('2.weight', '2.bias'), 'position')]
    """
    with prepared(model, train, test, kernel_options(**options)) as job:
        while True:
            try:
                return timed_plan(job)
            except MisreadError as error:
                job = _with_generic(job, error)


def _in_memory(job: Job) -> KernelResult:
    while True:
        store = TileStore(array_shapes(job), job.precision.passes)
        try:
            _run(job, store)
            return finish_in_memory(store, job)
        except MisreadError as error:
            job = _with_generic(job, error)


def _in_file(job: Job, out: Path) -> KernelResult:
    found = load_finished(out, job.fingerprint)
    if found is not None:
        return reopen(*found, job)
    plan = stored_plan(out, job.fingerprint)
    if plan is not None:  # the same tiles and forms as before the interruption, so the same bits
        stored = revive_plan(plan)
        job = job.remake(stored.generic) if stored.generic else job
        job.plan = stored
    out.parent.mkdir(parents=True, exist_ok=True)
    while True:
        shapes, rank = array_shapes(job), world()[0]
        store = FileTileStore(shapes, job.precision.passes, out, job.fingerprint, asdict(job.plan), rank)
        try:
            _run(job, store)
            return finish_in_file(store, job)
        except MisreadError as error:
            job = _with_generic(job, error)
            store.discard()
        finally:
            store.close()


def _with_generic(job: Job, error: MisreadError) -> Job:
    """Send parameters that a pass has shown to be misread through the generic route, from the first tile on."""
    fresh = [name for name in error.names if name not in job.coverage["unused"] and name not in job.plan.generic]
    if not fresh or world()[1] > 1:  # several processes would have to agree on the new plan
        raise error
    warnings.warn(f"{error}; the kernel starts again with these parameters on the generic route", stacklevel=4)
    return job.remake((*job.plan.generic, *fresh))


def _run(job: Job, store: TileStore) -> None:
    rank, processes = world()
    assembly = Assembly(
        job.source, job.rows, job.columns, job.plan, job.precision, job.device, job.groups, job.needs_norms
    )
    assigned = owners(-(-job.plan.rows // job.plan.row_block), job.square, processes)
    assembly.run(store, lambda block: assigned[block] == rank)
