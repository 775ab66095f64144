"""R² as the published code computes it, so that its numbers can be shown next to the corrected ones.

The defect was found in the code that accompanies arXiv:2305.14585 (pnnl/projection_ntk). It is not needed to use the
methods: compare with `analysis.surrogates.faithfulness`. The published τ's are in `analysis.surrogates.named_tau`.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize
from scipy.special import softmax


def r2_over_test_points(network: Float[np.ndarray, "n C"], surrogate: Float[np.ndarray, "n C"]) -> float:
    """Return R² as published: softmax over the test points, a Nelder-Mead line, and the two arguments exchanged.

    Parameters
    ----------
    network, surrogate : ndarray, shape (n, C)
        Logits. The residual is divided by the variance of the fitted values rather than of the network's.
    """
    target, source = (np.log(softmax(s, axis=0)).ravel() for s in (network, surrogate))
    line = minimize(
        lambda p: float(((p[0] * source + p[1] - target) ** 2).mean()), np.array([1.0, 0.0]), method="Nelder-Mead"
    ).x
    fitted = line[0] * source + line[1]
    return float(1 - ((fitted - target) ** 2).sum() / ((fitted - fitted.mean()) ** 2).sum())
