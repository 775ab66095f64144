r"""Stream the per-layer gradient factors of a data set: what sketches and curvature estimates consume.

For consumers (sketches, EK-FAC, the Gram engine)::

    for part in layer_factors(model, data, cotangent="class"):
        part.rows      # slice of sample positions in `data`
        part.logits    # (B, K), detached
        part.labels    # (B,) or None
        part.certificate   # what was checked so far against the network's own gradient
        for block in part.blocks: ...

``part.blocks`` is a tuple of :mod:`kernels.gradients.blocks` objects. Together they cover every trainable parameter
exactly once, always in the same order with the same names and types for every batch of one call. With ``R`` cotangents
(``sum``, ``loss``, ``log_odds``: 1; ``class``: the number of logits):

* ``OuterBlock`` / ``ConvBlock``: ``block.weight`` (qualified parameter name), ``block.bias`` (name or None, covered by
  the same block), ``block.a`` (B, T, g*I), ``block.delta`` (B, R, T, g*O), ``block.groups`` g, ``block.transposed``
  (the parameter stores (I, O)). Gradient: :math:`G_r = \sum_t \delta_{rt} a_t^T` per group, bias
  ``bias_scale * delta.sum(2)``. Scalar factors on the weight are already inside ``a``.
* ``TokenBlock``: ``block.ids`` (B, T) int64 with -1 for none, ``block.delta`` (B, R, T, O).
* ``VectorBlock``: ``block.values`` (B, R, D), plain gradients; ``block.origin`` is ``"fallback"`` when they come from
  the generic per-sample route.
* ``TiedBlock``: ``block.roles``, blocks of the above types whose gradients **add** to the gradient of one tensor.

A parameter that is read in disjoint slices (packed attention projections) comes as several blocks with ``rows``, whose
gradients do not overlap. Every block has ``names`` (parameters covered), ``gradients()`` -> {name: (B, R,
*parameter.shape)}, and ``take(slice)``. Tensors are detached, in the precision of the pass, on the model's device.
``T`` may differ between batches (ragged text).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Unpack

from jaxtyping import Float
from torch import Tensor, nn

from kernels.capture.capture import Capture
from kernels.capture.certificate import Certifier
from kernels.gradients.blocks import Block
from kernels.inputs.loan import Loan
from kernels.inputs.options import PassOptions, documents, pass_options
from kernels.inputs.outputs import Cotangent, bind_cotangent, needs_labels
from kernels.inputs.samples import PROBE, Place, Samples
from kernels.machine.precision import precision_named

BATCH = 32


@dataclass
class FactorBatch:
    """Factors of one batch: see the module's docstring.

    Examples
    --------
    >>> import torch
    >>> from kernels import layer_factors
    >>> batch = next(layer_factors(torch.nn.Linear(2, 3), torch.eye(2)))
    >>> batch.rows, batch.blocks[0].gradients()["weight"].shape  # 2 samples, 3 classes, a 3 x 2 weight
    (slice(0, 2, None), torch.Size([2, 3, 3, 2]))
    """

    rows: slice
    logits: Float[Tensor, "b k"]
    labels: Tensor | None
    blocks: tuple[Block, ...]
    certificate: dict[str, Any] = field(default_factory=dict)


@documents(PassOptions)
def layer_factors(
    model: nn.Module,
    data: Any,
    *,
    cotangent: Cotangent = "class",
    labels: Tensor | None = None,
    **options: Unpack[PassOptions],
) -> Iterator[FactorBatch]:
    """Iterate over per-layer factors (a, delta) of per-sample gradients.

    Parameters
    ----------
    model, data, labels
        As for :func:`kernels.kernel_matrix`.
    cotangent : {"sum", "class", "loss", "log_odds"} or callable
        What is differentiated: the summed logits, every logit, the cross-entropy, the log odds of the label, or a
        callable of (logits, labels) that returns one scalar per sample, (n,), or several, (n, r).
    **options : PassOptions
        Layers, arithmetic, samples per pass and more: see the section Options. Factors do not depend on ``batch_size``.

    Returns
    -------
    iterator of FactorBatch
        Rows, logits, labels and blocks of one batch, on the model's device; see :mod:`kernels.capture.factor_stream`.

    Raises
    ------
    ValueError
        When the cotangent needs labels and there are none, and as :func:`kernels.kernel_matrix`.

    Examples
    --------
    >>> import torch
    >>> from kernels import layer_factors
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3)).eval()
    >>> batch = next(layer_factors(model, torch.eye(2), cotangent="class"))
    >>> [(block.names, tuple(block.delta.shape)) for block in batch.blocks]  # samples, classes, positions, outputs
    [(('0.weight', '0.bias'), (2, 3, 1, 4)), (('2.weight', '2.bias'), (2, 3, 1, 3))]
    """
    return _stream(model, data, cotangent, labels, pass_options(**options))


def _stream(
    model: nn.Module, data: Any, cotangent: Cotangent, labels: Tensor | None, settings: PassOptions
) -> Iterator[FactorBatch]:
    chosen = precision_named(settings["precision"])
    loan = Loan(model, chosen.passes, eval_mode=settings["eval_mode"], refuse=chosen.refuse_narrowing)
    with loan.lent() as own, chosen.strict_passes():
        device = loan.device
        samples = Samples(data, labels, "given")
        if needs_labels(cotangent) and samples.labels is None:
            raise ValueError(f"cotangent {cotangent!r} needs labels: pass labels=, or a loader that yields them")
        certifier = Certifier(settings["certify"])
        probe = samples.first(PROBE, device, chosen.passes)
        capture = Capture(
            own,
            probe,
            layers=settings["layers"],
            fallback=settings["fallback"],
            output=settings["output"],
            certifier=certifier,
        )
    for rows, inputs in samples.batches(0, samples.count, settings["batch_size"] or BATCH, device, chosen.passes):
        known = None if samples.labels is None else samples.labels[rows].to(device)
        rows_of = bind_cotangent(cotangent, known)
        if rows.start == 0 and needs_labels(cotangent):
            rows_of = _all_checked(samples, rows_of)
        certifier.at = Place.of(rows)
        with loan.lent(), chosen.strict_passes():
            logits, blocks = capture.blocks(inputs, rows_of)
        yield FactorBatch(rows, logits, known, tuple(blocks), certifier.summary())


def _all_checked(samples: Samples, rows_of: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Check the labels of all samples, as soon as the number of outputs is known."""

    def rows(logits: Tensor) -> Tensor:
        samples.check_labels(logits.shape[1])
        return rows_of(logits)

    return rows
