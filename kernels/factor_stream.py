"""Stream the per-layer gradient factors of a data set: what sketches and curvature estimates consume."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from kernels.capture import Capture, FactorBatch
from kernels.model_checks import check_model, evaluation_mode
from kernels.outputs import Cotangent, cotangent_rows, needs_labels
from kernels.precision import precision_named
from kernels.samples import Samples

PROBE = 3


def layer_factors(
    model: nn.Module,
    data: Any,
    *,
    cotangent: Cotangent = "class",
    labels: Tensor | None = None,
    layers: Any = "all",
    fallback: Sequence[str] = (),
    precision: str = "float32",
    batch_size: int = 32,
    output: Callable[[Any], Tensor] | None = None,
    eval_mode: bool = False,
) -> Iterator[FactorBatch]:
    """Iterate over per-layer factors (a, delta) of per-sample gradients.

    Parameters
    ----------
    model, data, labels, layers, fallback, precision, output, eval_mode
        As for :func:`kernels.kernel_matrix`.
    cotangent : {"sum", "class", "loss", "log_odds"} or callable
        What is differentiated: the summed logits, every logit, the cross-entropy, the log odds of the label, or a
        callable of (logits, labels) that returns one scalar per sample, (n,), or several, (n, r).
    batch_size : int
        Samples per forward pass. Factors do not depend on it.

    Yields
    ------
    FactorBatch
        Rows, logits, labels and blocks of one batch, on the model's device; :mod:`kernels.capture` describes them.

    Raises
    ------
    ValueError
        When the cotangent needs labels and there are none, and as :func:`kernels.kernel_matrix`.
    """
    chosen = precision_named(precision)
    with evaluation_mode(model, eval_mode):
        device = check_model(model)
        samples = Samples(data, labels, "data")
        if needs_labels(cotangent) and samples.labels is None:
            raise ValueError(f"cotangent {cotangent!r} needs labels: pass labels=, or a loader that yields them")
        own = chosen.model(model)
        with chosen.strict_passes():
            probe = samples.first(PROBE, device, chosen.passes)
            capture = Capture(own, probe, layers=layers, fallback=fallback, output=output)
        for rows, inputs in samples.batches(0, samples.count, batch_size, device, chosen.passes):
            known = None if samples.labels is None else samples.labels[rows].to(device)

            def pulled(logits: Tensor, known: Tensor | None = known) -> Tensor:
                return cotangent_rows(logits, known, cotangent)

            with chosen.strict_passes():
                logits, blocks = capture.blocks(inputs, pulled)
            yield FactorBatch(rows, logits, known, tuple(blocks))
