r"""How high a quantity rises on the straight line between two networks.

.. math:: B = \max_\alpha \bigl[L((1-\alpha)w_a + \alpha w_b) - (1-\alpha)L(w_a) - \alpha L(w_b)\bigr]

(Frankle et al. 2020, arXiv:1912.05671, and Entezari et al. 2022, arXiv:2110.06296, definition 2.1). It is 0 or more,
since both ends belong to the line.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from kernels.arguments import checked_arguments


@checked_arguments
def barrier_height(values: Float[np.ndarray, " k"], places: Float[np.ndarray, " k"] | None = None) -> float:
    """Largest rise above the line between both ends.

    Parameters
    ----------
    values : ndarray, shape (k,)
        Loss or error along the path, both ends included.
    places : ndarray, shape (k,), optional
        α of each value, from 0 to 1; without it they are evenly spaced.

    Returns
    -------
    float
        In the unit of ``values``; NaN if one of them is not finite.

    Raises
    ------
    ValueError
        If fewer than three values are given, or the places do not increase from 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.interpolation import barrier_height
    >>> round(barrier_height(np.array([0.1, 0.9, 0.3])), 3), barrier_height(np.array([0.2, 0.1, 0.2]))
    (0.7, 0.0)
    """
    if len(values) < 3:
        raise ValueError(f"values has {len(values)} of a path: a barrier needs both ends and a point between them.")
    at = np.linspace(0, 1, len(values)) if places is None else places
    if at[0] != 0 or at[-1] != 1 or not (np.diff(at) > 0).all():
        raise ValueError("places must increase from 0 to 1, both ends included.")
    if not np.isfinite(values).all():
        return float("nan")
    return max(0.0, float((values - (1 - at) * values[0] - at * values[-1])[1:-1].max()))
