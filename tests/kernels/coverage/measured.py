"""What the coverage table says about one network: form, error, time against a plain loop."""

import time
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

import torch
from torch import nn

from kernels import kernel_matrix
from kernels.capture.capture import Capture
from kernels.contraction.job import PROBE
from kernels.inputs.loan import Loan
from kernels.inputs.outputs import call_logits
from tests.kernels.coverage.architecture import Batch

SAMPLES, TIMED = 5, 32


@dataclass(frozen=True)
class Measured:
    """One row of the table.

    ``ruled`` is the share of the parameters (that reach the logits) with a rule; ``route`` how the rest is
    differentiated, empty where there is none; ``error`` the kernel's largest deviation from the float64 reference,
    relative to the roots of the diagonal; CPU seconds are of the trNTK in float32, whole and settling alone, and of a
    plain loop; ``faster`` the loop over the kernel in the middle one of the pairs that were measured in turn,
    ``slowest`` and ``fastest`` in the extreme ones; ``checked`` the certificate's largest difference; ``refused`` the
    engine's sentence, with nothing else.
    """

    name: str
    parameters: int = 0
    ruled: float = 0.0
    route: str = ""
    error: float = 0.0
    seconds: float = 0.0
    settling: float = 0.0
    loop: float = 0.0
    faster: float = 0.0
    slowest: float = 0.0
    fastest: float = 0.0
    checked: float | None = None
    refused: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def wide(batch: Batch) -> Batch:
    """The batch with its floating-point tensors in float64."""
    if isinstance(batch, torch.Tensor):
        return batch.double() if batch.is_floating_point() else batch
    return {name: value.double() if value.is_floating_point() else value for name, value in batch.items()}


def plain_kernel(model: nn.Module, batch: dict[str, torch.Tensor], output: Any, copies: int = 1) -> torch.Tensor:
    """trNTK as anyone would write it: one forward pass per sample, one backward pass per logit."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    rows = []
    for n in range(len(next(iter(batch.values())))):
        one = {name: torch.cat([value[n : n + 1]] * copies) for name, value in batch.items()}
        logits = call_logits(model, one, output)[0]
        for logit in logits:
            # LeViT keeps biases, with their graph, from the first sample on.
            found = torch.autograd.grad(logit, parameters, retain_graph=True, allow_unused=True)
            rows.append(
                torch.cat(
                    [
                        torch.zeros(p.numel(), dtype=p.dtype) if g is None else g.flatten()
                        for p, g in zip(parameters, found, strict=True)
                    ]
                )
            )
    classes = len(logits)
    flat = torch.stack(rows).reshape(-1, classes * rows[0].numel())
    return flat @ flat.T


def compare(case: Any) -> Measured:
    """Fill a network's row but for the times: form, error and certificate in float64."""
    exact = _built(case).double()
    if hasattr(exact, "set_experts_implementation"):
        exact.set_experts_implementation("eager")  # for the reference: grouped_mm, the default, knows no float64
    batch = wide(case.batch(SAMPLES, torch.Generator().manual_seed(1)))
    try:
        found = kernel_matrix(exact, batch, kind="trntk", normalize=False, output=case.output, precision="float64")
    except (ValueError, TypeError, RuntimeError) as refusal:
        return Measured(case.name, refused=str(refusal))
    expected = plain_kernel(exact, batch, case.output, 2 if case.twice else 1)
    scale = expected.diagonal().sqrt()
    scale = scale.clamp_min(1e-12 * float(scale.max()))  # a sample that reads no trained row has no gradient
    coverage = found.metadata["coverage"]
    sizes = {name: p.numel() for name, p in exact.named_parameters()}
    ruled = sum(sizes[name] for name in coverage["ruled"])
    generic = sum(sizes[name] for name in coverage["fallback"])
    return Measured(
        case.name,
        parameters=sum(sizes.values()),
        ruled=ruled / max(ruled + generic, 1),
        route=coverage["fallback_route"] if generic else "",
        error=float(((found.matrix - expected).abs() / (scale[:, None] * scale[None])).max()),
        checked=(found.metadata.get("certificate") or {}).get("largest_difference"),
    )


def measure(case: Any, *, repeats: int = 1) -> Measured:
    """Fill a network's row; times are the best of several, in float32, in CPU seconds: neighbors do not change them."""
    row = compare(case)
    if row.refused:
        return row
    model = _built(case)
    batch = case.batch(TIMED, torch.Generator().manual_seed(1))
    few = {name: value[:PROBE] for name, value in batch.items()}

    def settle() -> None:
        with Loan(model).lent() as own:  # which keeps nothing of a pass
            Capture(own, few, output=case.output)

    work = {
        "loop": lambda: plain_kernel(model, batch, case.output),
        "seconds": lambda: kernel_matrix(model, batch, kind="trntk", normalize=False, output=case.output),
        "settling": settle,
    }
    taken: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(repeats):  # in turns, so that all meet the same neighbors
        for name, one in work.items():
            start = time.process_time()
            one()
            taken[name].append(time.process_time() - start)
    ratios = [loop / whole for loop, whole in zip(taken["loop"], taken["seconds"], strict=True)]
    best = {name: min(every) for name, every in taken.items()}
    return replace(row, faster=median(ratios), slowest=min(ratios), fastest=max(ratios), **best)


def _built(case: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = case.build()
    return model
