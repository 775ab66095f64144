"""What a network says of a class, as a differentiable number."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.errors import UserError


def require_finite_outcomes(values: Float[np.ndarray, "s ..."], what: str) -> None:
    """Refuse trainings that ended in NaN: a score over them would say nothing.

    Raises
    ------
    UserError
        With their number, and what to do.

    Examples
    --------
    >>> import numpy as np
    >>> from pipeline.training.outcomes import require_finite_outcomes
    >>> require_finite_outcomes(np.array([[0.5], [0.25]]), "trainings without some rows")
    """
    broken = int((~np.isfinite(values.reshape(len(values), -1)).all(1)).sum())
    if broken:
        raise UserError(
            f"{broken} of {len(values)} {what} diverged: their outputs are NaN or infinite. Lower training.lr."
        )


def log_odds_of(logits: Float[Tensor, "m c"], classes: Int[Tensor, " m"]) -> Float[Tensor, " m"]:
    """Log-odds of a class, differentiable; of the sign of a single output.

    Examples
    --------
    >>> import torch
    >>> from pipeline.training.outcomes import log_odds_of
    >>> log_odds_of(torch.tensor([[0.0, 2.0], [0.0, 2.0]]), torch.tensor([0, 1]))
    tensor([-2.,  2.])
    """
    if logits.shape[1] == 1:
        return torch.where(classes == 1, logits[:, 0], -logits[:, 0])
    own = torch.nn.functional.one_hot(classes, logits.shape[1]).bool()
    return logits[own] - logits.masked_fill(own, -torch.inf).logsumexp(1)


def class_shares(logits: Float[Tensor, "m c"]) -> Float[Tensor, "m k"]:
    """Probability of every class, differentiable; a single output z stands for the logits -z and 0.

    Examples
    --------
    >>> import torch
    >>> from pipeline.training.outcomes import class_shares
    >>> class_shares(torch.zeros(1, 1)), class_shares(torch.zeros(1, 4))
    (tensor([[0.5000, 0.5000]]), tensor([[0.2500, 0.2500, 0.2500, 0.2500]]))
    """
    both = torch.cat([-logits, torch.zeros_like(logits)], 1) if logits.shape[1] == 1 else logits
    return both.softmax(1)
