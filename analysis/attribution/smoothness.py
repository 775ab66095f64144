"""How far a finite change of training does what its derivative says: the smoothness of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from analysis.checks import check_finite
from kernels.arguments import checked_arguments


@dataclass(frozen=True)
class StepAgreement:
    """Agreement at one size of step.

    Attributes
    ----------
    step : float
        By how much weights fell; 1 leaves the rows out.
    error : float
        ‖foretold - real‖ / ‖real‖ over parts and test points.
    correlation : float
        Pearson's, over parts and test points.
    """

    step: float
    error: float
    correlation: float


@checked_arguments
def step_agreement(
    derivative: Float[np.ndarray, "m n"],
    parts: Bool[np.ndarray, "s n"],
    changes: Float[np.ndarray, "_ _ _"],
    steps: Sequence[float],
) -> list[StepAgreement]:
    """Compare what a derivative by row weights foretells with what training did.

    Parameters
    ----------
    derivative : ndarray, shape (m, n)
        Of each test point's measure by the weight of each training row.
    parts : ndarray of bool, shape (s, n)
        Rows whose weights fell together.
    changes : ndarray, shape (e, s, m)
        What training with the smaller weights changed, for each size of step.
    steps : sequence of float
        By how much the weights fell.

    Raises
    ------
    ValueError
        If shapes do not belong together, or a value is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.attribution import step_agreement
    >>> slopes, part = np.array([[1.0, 2.0], [0.0, 4.0]]), np.array([[True, True]])
    >>> real = np.array([[[-0.3, -0.4]], [[-2.0, -5.0]]])  # a small step is linear, leaving both rows out is not
    >>> [round(one.error, 2) for one in step_agreement(slopes, part, real, [0.1, 1.0])]
    [0.0, 0.26]
    """
    if changes.shape != (len(steps), len(parts), len(derivative)):
        raise ValueError(f"changes {changes.shape} are not (step, part, test point) of {len(steps)} steps.")
    check_finite(derivative=derivative, changes=changes)
    found = []
    for step, real in zip(steps, changes, strict=True):
        foretold = -step * parts @ derivative.T
        size = max(float(np.linalg.norm(real)), np.finfo(np.float64).tiny)
        spread = foretold.std() * real.std()
        correlation = float(np.corrcoef(foretold.ravel(), real.ravel())[0, 1]) if spread > 0 else 0.0
        found.append(StepAgreement(float(step), float(np.linalg.norm(foretold - real)) / size, correlation))
    return found
