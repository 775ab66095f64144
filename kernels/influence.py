r"""EK-FAC from data, and influence scores of training points without a matrix of per-sample gradients.

The influence of training point i on test point x is :math:`g(x)^T (F + \lambda)^{-1} g_i` with loss gradients g
(arXiv:1703.04730), F being the EK-FAC Fisher matrix as in arXiv:2308.03296. Positive means that i supports x: a step on
i lowers the loss at x.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, Unpack, get_args

import torch
from torch import Tensor, nn

from kernels.capture.factor_stream import FactorBatch, layer_factors
from kernels.fisher.ekfac import EKFAC, accumulate_ekfac, fisher_cotangent, small_pieces, uniform_draws
from kernels.fisher.kronecker_blocks import block_key
from kernels.inputs.option import require_whole_number
from kernels.inputs.options import PassOptions, documents
from kernels.inputs.outputs import Cotangent, needs_labels
from kernels.inputs.samples import Samples, require_finite_gradients
from kernels.machine.memory import parse_memory
from kernels.machine.precision import float32_products

Fisher = Literal["sampled", "exact", "empirical"]
FISHERS = get_args(Fisher)


@documents(PassOptions)
@float32_products()
def fit_ekfac(
    model: nn.Module,
    data: Any,
    *,
    fisher: Fisher = "sampled",
    labels: Tensor | None = None,
    draws: int = 1,
    seed: int = 0,
    damping: float = 0.1,
    relative: bool = True,
    **options: Unpack[PassOptions],
) -> EKFAC:
    """EK-FAC Fisher matrix of a classifier, in two passes over the data.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode.
    data : Tensor, mapping of tensors, or DataLoader
        As for :func:`kernels.kernel_matrix`.
    fisher : {"sampled", "exact", "empirical"}
        Labels drawn from the model (the true Fisher matrix, by Monte Carlo), every label weighted by its probability
        (the same without noise, for one backward per class), or the given labels.
    labels : Tensor, optional
        Class indices, for ``empirical``.
    draws, seed : int
        Labels drawn per sample, over which ``sampled`` is a mean, and the seed; they do not depend on batch size.
    damping, relative
        See :class:`~kernels.fisher.ekfac.EKFAC`.
    **options : PassOptions
        Layers, arithmetic, samples per pass and more: see the section Options.

    Examples
    --------
    >>> import torch
    >>> from kernels import fit_ekfac
    >>> fisher = fit_ekfac(torch.nn.Linear(2, 3), torch.eye(2), fisher="exact")
    >>> fisher.samples, list(fisher.blocks)
    (2, ['weight+bias'])
    """
    if fisher not in FISHERS:
        raise ValueError(f"fisher={fisher!r}: use one of {', '.join(FISHERS)}")
    require_whole_number("draws", draws, 1)
    require_whole_number("seed", seed)
    samples = Samples(data, labels, "given")
    extra = samples.labels
    losses = fisher_cotangent(fisher)
    if fisher == "sampled":
        extra = uniform_draws(seed, samples.count, draws)
    elif fisher == "exact":
        extra = None

    def cotangent(logits: Tensor, chosen: Tensor | None) -> Tensor:
        if fisher == "empirical":
            samples.check_labels(logits.shape[1])
        return losses(logits, chosen)

    def batches() -> Iterator[FactorBatch]:
        return layer_factors(model, samples, cotangent=cotangent, labels=extra, **options)

    return accumulate_ekfac(batches, damping=damping, relative=relative)


@documents(PassOptions)
@float32_products()
def influence_scores(
    model: nn.Module,
    fisher: EKFAC,
    train: Any,
    test: Any,
    *,
    labels: Tensor | None = None,
    test_labels: Tensor | None = None,
    cotangent: Cotangent = "loss",
    test_cotangent: Cotangent = "loss",
    layerwise: bool = False,
    memory: str | int | None = None,
    **options: Unpack[PassOptions],
) -> Tensor | dict[str, Tensor]:
    """Test x train inverse-Fisher products of gradients.

    Parameters
    ----------
    model : nn.Module
        The model that ``fisher`` was fitted on.
    fisher : EKFAC
        From :func:`fit_ekfac`.
    train, test : Tensor, mapping of tensors, or DataLoader
        As for :func:`kernels.kernel_matrix`.
    labels, test_labels : Tensor, optional
        Class indices, where the cotangents need them and the data has none.
    cotangent, test_cotangent : str or callable
        One scalar per sample whose gradients are compared; ``loss`` for influence on the loss.
    layerwise : bool
        Return one matrix per block of parameters; they add up to the whole.
    memory : str or int, optional
        Budget for the whitened gradients of test points; training data is streamed once for as many as fit.
    **options : PassOptions
        Layers, arithmetic, samples per pass and more: see the section Options.

    Returns
    -------
    Tensor, shape (M, N), or dict of str to Tensor
        Scores; positive supports.

    Examples
    --------
    >>> import torch
    >>> from kernels import fit_ekfac, influence_scores
    >>> model, points, labels = torch.nn.Linear(2, 3), torch.eye(2), torch.tensor([0, 1])
    >>> fisher = fit_ekfac(model, points, fisher="exact")
    >>> scores = influence_scores(model, fisher, points, points, labels=labels, test_labels=labels)
    >>> scores.shape, bool((scores.diagonal() > 0).all())  # every point supports itself
    (torch.Size([2, 2]), True)
    """
    if layerwise not in (True, False):
        raise ValueError(f"layerwise={layerwise!r}: use True, for parts by block of parameters, or False")
    needs_labels(cotangent), needs_labels(test_cotangent)  # refuses misspelled ones before anything runs
    if not isinstance(fisher, EKFAC):
        raise TypeError(f"fisher is {type(fisher).__name__}: pass what fit_ekfac returns")
    rows, columns = Samples(test, test_labels, "test"), Samples(train, labels, "train")
    budget = parse_memory(memory, next(model.parameters()).device)
    found: dict[str, Tensor] = {}
    held: dict[str, list[Tensor]] = {}
    first = last = 0

    def sweep() -> None:
        left = {key: torch.cat(values) for key, values in held.items()}
        stream = layer_factors(model, columns, cotangent=cotangent, **options)
        for part in stream:
            for block in part.blocks:
                key = block_key(block)
                start = part.rows.start
                for piece in small_pieces(block):
                    right = _single(fisher.whiten(piece))
                    require_finite_gradients(right, key, "train", start)
                    name = key if layerwise else ""
                    if name not in found:
                        found[name] = torch.zeros(rows.count, columns.count, dtype=right.dtype)
                    stop = start + len(right)
                    found[name][first:last, start:stop] += (left[key] @ right.T).cpu()
                    start = stop

    for part in layer_factors(model, rows, cotangent=test_cotangent, **options):
        for block in part.blocks:
            whitened = torch.cat([_single(fisher.whiten(piece)) for piece in small_pieces(block)])
            require_finite_gradients(whitened, block_key(block), "test", part.rows.start)
            held.setdefault(block_key(block), []).append(whitened)
        last = part.rows.stop
        used = sum(x.numel() * x.element_size() for values in held.values() for x in values)
        if used * (1 + len(part.logits) / (last - first)) > budget:
            sweep()
            held.clear()
            first = last
    if held:
        sweep()
    return found if layerwise else found[""]


def _single(whitened: Tensor) -> Tensor:
    if whitened.shape[1] != 1:
        raise ValueError(
            f"influence compares one gradient per sample, but the cotangent gives {whitened.shape[1]}: use 'loss', "
            "'log_odds', 'sum' or a callable with one value per sample"
        )
    return whitened[:, 0]
