r"""Edge of stability: the sharpness above which an optimizer's steps grow on a quadratic.

Gradient descent of rate η with momentum β on a quadratic of curvature λ is a linear recurrence of two terms. It grows
once λ exceeds :math:`2(1+\beta)/\eta` with heavy-ball momentum, and :math:`2(1+\beta)/((1+2\beta)\eta)` with
Nesterov's, as torch takes both steps (Cohen et al. 2021, arXiv:2103.00065, appendix B). A weight decay within the
gradient adds itself to λ.
"""

from __future__ import annotations

from dataclasses import dataclass

from kernels.arguments import checked_arguments

_ADAM = (
    "Adam divides each gradient by its own running size: 2/η bounds the curvature after that division, not this one "
    "(arXiv:2207.14484)"
)
OWN_SIZE = {
    "adam": _ADAM,
    "adamw": _ADAM,
    "muon": "Muon's step has the same size for every gradient, so that no curvature makes it grow: 2/η is no edge",
}


@dataclass(frozen=True)
class StabilityThreshold:
    """Sharpness at which full-batch steps stop being stable.

    Attributes
    ----------
    value : float or None
        The threshold; None where the optimizer has none in terms of the Hessian's largest eigenvalue.
    formula : str
        How it follows from rate and momentum, or why there is none.
    """

    value: float | None
    formula: str


@checked_arguments
def stability_threshold(
    optimizer: str, rate: float, momentum: float = 0.0, weight_decay: float = 0.0
) -> StabilityThreshold:
    """Largest Hessian eigenvalue at which an optimizer's full-batch steps are stable on a quadratic.

    Parameters
    ----------
    optimizer : {"sgd", "nesterov", "adam", "adamw", "muon"}
        As :func:`models.make_optimizer` names them.
    rate, momentum, weight_decay : float
        Of its step; the rate is positive.

    Raises
    ------
    ValueError
        On another optimizer, a rate that is not positive, or a momentum outside [0, 1).

    Examples
    --------
    >>> from analysis.spectra import stability_threshold
    >>> stability_threshold("sgd", 0.5).value, stability_threshold("sgd", 0.5, momentum=0.5).value
    (4.0, 6.0)
    >>> print(stability_threshold("adam", 0.001).value)
    None
    """
    if not rate > 0:
        raise ValueError(f"rate={rate} must be positive: a step of no length is always stable.")
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum={momentum} must be in [0, 1).")
    if optimizer in OWN_SIZE:
        return StabilityThreshold(None, OWN_SIZE[optimizer])
    if optimizer == "sgd":
        value, formula = 2 * (1 + momentum) / rate, "2(1 + β)/η" if momentum else "2/η"
    elif optimizer == "nesterov":
        value, formula = 2 * (1 + momentum) / ((1 + 2 * momentum) * rate), "2(1 + β)/((1 + 2β)η)"
    else:
        raise ValueError(f"optimizer={optimizer!r} is not known; use sgd, nesterov, {', '.join(OWN_SIZE)}.")
    return StabilityThreshold(value - weight_decay, formula + (" minus the weight decay" if weight_decay else ""))
