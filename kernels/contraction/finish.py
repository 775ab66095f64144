"""Turn finished tiles into a kernel: join ranks, mirror, take diagonals, normalize, write."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from kernels.contraction.assembly import TOTAL
from kernels.contraction.job import Job, duplicates
from kernels.contraction.kernel_file import create_arrays, map_arrays, put_in_place
from kernels.contraction.result import KernelResult, divide_by_diagonals
from kernels.contraction.result_files import PART
from kernels.contraction.tile_store import FileTileStore, TileStore, is_norms, stored_records
from kernels.inputs.samples import NotFiniteError
from kernels.machine.ranks import barrier, gather_objects, gather_sum, world


def finish_in_memory(store: TileStore, job: Job) -> KernelResult:
    """Join the ranks' tiles and finish the arrays in place."""
    if world()[1] > 1:
        for array in store.arrays.values():
            gather_sum(array, job.device)
        for records in gather_objects(store.records):
            job.source.resume(records)
    return _finish(store.arrays, job)


def finish_in_file(store: FileTileStore, job: Job) -> KernelResult:
    """Write the finished kernel next to its tiles, move it into place, remove the tiles."""
    barrier()
    job.source.resume(stored_records(store.out))
    barrier()
    temporary = store.out.with_name(store.out.name + ".finishing")
    metadata = {
        "fingerprint": json.dumps(job.fingerprint, sort_keys=True),
        "plan": json.dumps(_described(asdict(job.plan)), sort_keys=True),
        "coverage": json.dumps(job.coverage, sort_keys=True),
        "precision": job.precision.name,
        "certificate": json.dumps(job.source.certificate(), sort_keys=True),
    }
    if world()[0] == 0:
        shapes = {name: shape for name, shape in store.shapes.items() if not is_norms(name)}
        _, diagonals = _diagonals(store.arrays, job)
        shapes |= {name: tuple(values.shape) for name, values in diagonals.items()}
        arrays = create_arrays(temporary, shapes, store.dtype, metadata)
        for name, array in arrays.items():
            array.copy_(store.arrays[name] if name in store.arrays else diagonals[name])
        _finish(arrays | {n: a for n, a in store.arrays.items() if is_norms(n)}, job)
        del arrays
        put_in_place(temporary, store.out)
        store.discard()
    else:
        store.close()
    barrier()
    return reopen(map_arrays(store.out), metadata, job)


def reopen(arrays: dict[str, Tensor], metadata: dict[str, str], job: Job) -> KernelResult:
    """Present a kernel file's arrays as a result."""
    matrix = arrays.pop(TOTAL)
    rows, columns = arrays.pop("row_diagonal", None), arrays.pop("column_diagonal", None)
    parts = {name.removeprefix(PART): arrays[name] for name in dict.fromkeys(job.groups) if name is not None}
    about = _metadata(job) | {"certificate": json.loads(metadata.get("certificate", "{}"))}
    return KernelResult(matrix, rows, rows if job.square else columns, parts, about)


def _finish(arrays: dict[str, Tensor], job: Job) -> KernelResult:
    normalize = job.options["normalize"]
    names = [TOTAL, *(name for name in dict.fromkeys(job.groups) if name is not None)]
    by_name, _ = _diagonals(arrays, job)
    rows, columns = by_name.get(TOTAL, (None, None))
    if rows is not None and columns is not None:
        _refuse_overflow(rows, "train" if job.square else "test")
        _refuse_overflow(columns, "train")
    if normalize:
        assert rows is not None and columns is not None
        for side, values in (("test" if not job.square else "train", rows), ("train", columns)):
            refuse_zero(values, side, job.options["zero_gradient"])
        for name in names:
            own = by_name[name] if normalize == "part" else (rows, columns)
            exact = job.square and (name == TOTAL or normalize == "part")
            divide_by_diagonals(arrays[name], *own, exact_diagonal=exact)
    parts = {name.removeprefix(PART): arrays[name] for name in names[1:]}
    return KernelResult(arrays[TOTAL], rows, columns, parts, _metadata(job))


def _diagonals(arrays: dict[str, Tensor], job: Job) -> tuple[dict[str, tuple[Tensor, Tensor]], dict[str, Tensor]]:
    """Diagonals of the matrix and its parts, and those of the matrix under the names of a file."""
    found: dict[str, tuple[Tensor, Tensor]] = {}
    for name in [TOTAL, *(name for name in dict.fromkeys(job.groups) if name is not None)]:
        if job.square:
            diagonal = arrays[name].diagonal(dim1=0, dim2=1)
            if job.plan.full:
                diagonal = diagonal.diagonal(dim1=0, dim2=1)
            found[name] = (diagonal.clone(), diagonal.clone())
        elif job.needs_norms:
            found[name] = (arrays[f"row_norms:{name}"], arrays[f"column_norms:{name}"])
    if TOTAL not in found:
        return found, {}
    rows, columns = found[TOTAL]
    return found, {"row_diagonal": rows} | ({} if job.square else {"column_diagonal": columns})


def _refuse_overflow(squares: Tensor, side: str) -> None:
    wrong = torch.nonzero(~squares.reshape(len(squares), -1).isfinite().all(1))
    if wrong.numel():
        raise NotFiniteError(
            f"the kernel of {side} sample {int(wrong[0])} with itself is NaN or infinite (so for {len(wrong)} in "
            "all): its gradient overflows; rescale the inputs or use precision='float64'"
        )


def refuse_zero(squares: Tensor, side: str, response: str) -> None:
    """Refuse samples without features under a cosine, unless they are to become rows of zeros."""
    dead = torch.nonzero(squares if squares.ndim == 1 else squares.amax(1), as_tuple=False)
    count = squares.shape[0] - dead.shape[0]
    if count and response == "error":
        alive = torch.zeros(squares.shape[0], dtype=torch.bool)
        alive[dead.flatten()] = True
        indices = torch.nonzero(~alive).flatten().tolist()
        more = f" and {count - 10} more" if count > 10 else ""
        raise ValueError(
            f"{side} samples {indices[:10]}{more} have zero features, so their cosine is undefined: pass "
            "zero_gradient='zero' to give them rows of zeros, or normalize=False"
        )


def _metadata(job: Job) -> dict[str, Any]:
    return {
        "kind": job.options["kind"],
        "precision": job.precision.name,
        "normalize": job.options["normalize"],
        "plan": job.plan,
        "coverage": job.coverage,
        "fingerprint": job.fingerprint,
        "certificate": job.source.certificate(),
        **duplicates(job),
    }


def _described(plan: dict[str, Any]) -> dict[str, Any]:
    """Give a plan without what was measured, so that equal kernels make equal files."""
    measured = ("pass_seconds", "mac_rate", "setup_seconds", "entry_seconds", "layer_seconds")
    return {key: value for key, value in plan.items() if key not in measured}
