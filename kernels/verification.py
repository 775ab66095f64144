"""Check a model's kernel on a few samples before a long run: coverage, independence of samples, digits."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from kernels.capture.capture import Capture
from kernels.capture.summary import told
from kernels.gradients.fallback import looped_gradients, sample
from kernels.gram import kernel_matrix
from kernels.inputs.loan import Loan
from kernels.inputs.options import ModelOptions, documents, model_options
from kernels.inputs.outputs import Inputs, batch_size, bind_cotangent, call_logits
from kernels.inputs.samples import Samples
from kernels.machine.precision import float32_products


@dataclass(frozen=True)
class Verification:
    """What :func:`verify` found; every error is the largest one, relative to the root of both diagonals.

    Attributes
    ----------
    coverage_error : float
        Engine against per-sample autograd of every trainable parameter, both in float64.
    batch_error : float
        One batch against one sample at a time, in the model's own precision.
    float32_error : float
        Engine in float32 against float64, passes and contraction together.
    contraction_error : float
        Contraction in float32 against float64 on equal (float32) factors: what the engine itself adds.
    relu_flips : int
        Units whose sign differs between the float32 and the float64 forward pass: the usual cause of a large
        ``float32_error`` with a small ``contraction_error``.
    ruled, fallback, unused, frozen : int
        Parameter counts by route; they add up to the model's.
    notes : tuple of str
        Reasons for the fallback, and findings in words.
    certificate : dict
        Of the float64 kernel, every pass of which is held whole against the network's own gradient.
    """

    coverage_error: float
    batch_error: float
    float32_error: float
    contraction_error: float
    relu_flips: int
    ruled: int
    fallback: int
    unused: int
    frozen: int
    notes: tuple[str, ...]
    certificate: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the kernel can be trusted: exact coverage and independent samples."""
        return self.coverage_error < 1e-9 and self.batch_error < 1e-3

    def __str__(self) -> str:
        """Return a short table."""
        lines = [
            f"coverage, float64      {self.coverage_error:.2e}",
            f"batch independence     {self.batch_error:.2e}",
            f"float32, all           {self.float32_error:.2e}",
            f"float32, contraction   {self.contraction_error:.2e}",
            f"units that change sign {self.relu_flips}",
            f"parameters: {self.ruled} by rule, {self.fallback} by fallback, {self.unused} unused, "
            f"{self.frozen} frozen",
            f"certificate: {told(self.certificate)}",
            *self.notes,
        ]
        return "\n".join(lines)


@documents(ModelOptions)
@float32_products()
def verify(
    model: nn.Module,
    batch: Any,
    *,
    kind: str = "trntk",
    **options: Unpack[ModelOptions],
) -> Verification:
    """Compare the engine with plain autograd on a few samples.

    Parameters
    ----------
    model : nn.Module
        As for :func:`kernels.kernel_matrix`.
    batch : Tensor or mapping of tensors
        A few samples (up to about 16); at least two.
    kind : {"trntk", "pntk"}
        Kernel to check.
    **options : ModelOptions
        Layers, fallback and more: see the section Options.

    Returns
    -------
    Verification
        ``ok`` is the verdict; printing it shows the numbers.

    Examples
    --------
    >>> import torch
    >>> from kernels import verify
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3)).eval()
    >>> found = verify(model, torch.tensor([[1.0, 0.0], [0.5, 2.0]]))
    >>> found.ok, found.ruled, found.fallback
    (True, 27, 0)
    """
    if kind not in ("trntk", "pntk"):
        raise ValueError(f"verify knows kinds trntk and pntk, not {kind!r}")
    chosen = model_options(**options)
    layers, fallback, output = chosen["layers"], chosen["fallback"], chosen["output"]
    matrix = partial(kernel_matrix, kind=kind, normalize=False, certify="every", **chosen)
    loan = Loan(model, torch.float64, eval_mode=chosen["eval_mode"])
    with loan.lent() as wide:
        samples = Samples(batch, name="batch")
        if samples.count < 2:
            raise ValueError("verify needs at least two samples")
        inputs = samples.first(samples.count, loan.device, torch.float64)
        capture = Capture(wide, inputs, layers=layers, fallback=fallback, output=output)
        certified = matrix(wide, inputs, precision="float64")
        exact = certified.matrix
        plain = _plain_kernel(wide, tuple(capture.parameters), inputs, kind, output)
        signs = _signs(wide, inputs, output)
    with Loan(model, torch.float32, eval_mode=chosen["eval_mode"]).lent() as narrow:
        inputs32 = samples.first(samples.count, loan.device, torch.float32)
        single = matrix(narrow, inputs32, batch_size=1).matrix
        together = matrix(narrow, inputs32, batch_size=samples.count).matrix
        contraction_error = _contraction_error(narrow, inputs32, together, kind, layers, fallback, output)
        signs32 = _signs(narrow, inputs32, output)
    sums = {name: p.numel() for name, p in model.named_parameters()}
    covered = capture.coverage
    return Verification(
        coverage_error=_error(exact, plain),
        batch_error=_error(together, single),
        float32_error=_error(together, exact),
        contraction_error=contraction_error,
        relu_flips=sum(int((left != right).sum()) for left, right in zip(signs32, signs, strict=True)),
        ruled=sum(sums[name] for name in covered.ruled),
        fallback=sum(sums[name] for name in covered.fallback),
        unused=sum(sums[name] for name in covered.unused),
        frozen=sum(sums[name] for name in covered.frozen),
        notes=tuple(f"{name}: generic route ({why})" for name, why in covered.reasons.items()),
        certificate=certified.metadata["certificate"],
    )


def _plain_kernel(
    model: nn.Module, names: tuple[str, ...], inputs: Inputs, kind: str, output: Callable[[Any], Tensor] | None
) -> Tensor:
    """Kernel from one backward per sample and logit."""
    classes = call_logits(model, sample(inputs, slice(0, 1)), output).shape[1]
    eye = torch.eye(classes, dtype=torch.float64, device=next(model.parameters()).device)
    rows = eye if kind == "trntk" else eye.sum(0, keepdim=True)
    size = batch_size(inputs)
    found = looped_gradients(model, names, inputs, rows.expand(size, *rows.shape), output)
    flat = [values.flatten(1) for values in found.values()]
    return torch.stack([one @ one.T for one in flat]).sum(0)


def _contraction_error(
    model: nn.Module,
    inputs: Inputs,
    found: Tensor,
    kind: str,
    layers: Any,
    fallback: Sequence[str],
    output: Callable[[Any], Tensor] | None,
) -> float:
    """Compare the float32 kernel against float64 sums over the same float32 factors."""
    capture = Capture(model, inputs, layers=layers, fallback=fallback, output=output)
    _, blocks = capture.blocks(inputs, bind_cotangent("class" if kind == "trntk" else "sum", None))
    total = torch.zeros(found.shape, dtype=torch.float64)
    for block in blocks:
        for factor in _widened(block).gradients().values():
            flat = factor.flatten(1)
            total += (flat @ flat.T).cpu()
    return _error(found, total)


def _widened(block: Any) -> Any:
    """Return a block whose floating tensors are float64."""
    wide = copy.copy(block)
    for key, value in vars(block).items():
        if isinstance(value, Tensor) and value.is_floating_point():
            setattr(wide, key, value.double())
        elif key == "roles":
            setattr(wide, key, tuple(_widened(role) for role in value))
    return wide


def _signs(model: nn.Module, inputs: Inputs, output: Callable[[Any], Tensor] | None) -> list[Tensor]:
    """Which outputs of ReLU modules and functions are not zero."""
    with _ReluMasks() as seen:  # a network that differentiates within its forward pass needs gradients on
        call_logits(model, inputs, output)
    return seen.masks


class _ReluMasks(torch.overrides.TorchFunctionMode):
    """Record which units every ReLU lets through."""

    def __init__(self) -> None:
        super().__init__()
        self.masks: list[Tensor] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") in ("relu", "relu_"):
            self.masks.append((result > 0).cpu())
        return result


def _error(found: Tensor, expected: Tensor) -> float:
    expected = expected.double().cpu()
    scale = expected.diagonal().clamp_min(1e-300).sqrt()
    return float(((found.double().cpu() - expected).abs() / (scale[:, None] * scale[None])).max())
