"""How much a kernel machine gains over its network: the three-term identity and the bounds on the loss ratio.

With e = f - u (target minus network) and Π the linear map that takes training values to the kernel machine's
test values,

    f_test - f_K = e_test - Π e_train + (u_test - Π u_train).

The machine gains exactly where Π extends the network's residual well; the bracket is what it loses by not
reproducing the network (zero for a CK whose test features are in the training span). Derived from the setting of
arXiv 2310.18612.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class LossRatio:
    """Test loss of a kernel machine relative to its network, with the bounds that the identity gives.

    Attributes
    ----------
    ratio : float
        ρ = ‖f - f_K‖ / ‖f - u‖ on test points.
    extension : float
        τ = ‖Π e_train‖ / ‖e_test‖.
    bracket : float
        β = ‖u_test - Π u_train‖ / ‖e_test‖.
    lower, upper : float
        max(0, |1 - τ| - β) ≤ ρ ≤ 1 + τ + β.
    residual_miss : float
        ‖e_test - Π e_train‖ / ‖e_test‖: what is left of the residual.
    network_rms, machine_rms, bracket_rms : float
        Root mean square test values, in units of the target.
    gap : float
        Largest violation of the identity, relative to the largest term; rounding only.
    holds : bool
        Whether the ratio is between its bounds up to that gap.
    """

    ratio: float
    extension: float
    bracket: float
    lower: float
    upper: float
    residual_miss: float
    network_rms: float
    machine_rms: float
    bracket_rms: float
    gap: float
    holds: bool


def kernel_loss_ratio(
    target: tuple[Float[np.ndarray, "n C"], Float[np.ndarray, "m C"]],
    network: tuple[Float[np.ndarray, "n C"], Float[np.ndarray, "m C"]],
    extend: Callable[[Float[np.ndarray, "n C"]], Float[np.ndarray, "m C"]],
) -> LossRatio:
    """Compute every term of the identity and check it.

    Parameters
    ----------
    target, network : pair of ndarray, shapes (n, C) and (m, C)
        Values f and u at training and test points.
    extend : callable
        Π: training values (n, C) to test values (m, C), linear (no centering).

    Returns
    -------
    LossRatio

    Raises
    ------
    ValueError
        If the network fits every test point exactly, so that no ratio exists.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.regression import factorize_features, kernel_loss_ratio
    >>> x, x_test = np.linspace(-1, 1, 12), np.linspace(-0.9, 0.9, 30)
    >>> target = [np.exp(points)[:, None] for points in (x, x_test)]
    >>> network = [(1 + points)[:, None] for points in (x, x_test)]  # stopped at the linear term
    >>> phi, phi_test = (np.vander(points, 4) for points in (x, x_test))
    >>> found = kernel_loss_ratio(
    ...     tuple(target), tuple(network), lambda values: factorize_features(phi).solve(values).predict(phi_test)
    ... )
    >>> round(found.ratio, 3), found.holds  # a cubic fit leaves this share of the network's error
    (0.019, True)
    """
    e_train, e_test = target[0] - network[0], target[1] - network[1]
    scale = float(np.linalg.norm(e_test))
    if scale == 0.0:
        raise ValueError("the network reproduces every test value: the loss ratio is undefined.")
    machine = extend(target[0])
    extended = extend(e_train)
    bracket = network[1] - extend(network[0])
    left, right = target[1] - machine, e_test - extended + bracket
    size = max(float(np.abs(part).max()) for part in (target[1], machine, extended, bracket, e_test))
    gap = float(np.abs(left - right).max()) / size
    ratio = float(np.linalg.norm(left)) / scale
    tau, beta = float(np.linalg.norm(extended)) / scale, float(np.linalg.norm(bracket)) / scale
    lower, upper = max(0.0, abs(1.0 - tau) - beta), 1.0 + tau + beta
    slack = gap * size * np.sqrt(e_test.size) / scale + 1e-12 * upper
    rms = np.sqrt(e_test.size)
    return LossRatio(
        ratio=ratio,
        extension=tau,
        bracket=beta,
        lower=lower,
        upper=upper,
        residual_miss=float(np.linalg.norm(e_test - extended)) / scale,
        network_rms=scale / rms,
        machine_rms=float(np.linalg.norm(left)) / rms,
        bracket_rms=float(np.linalg.norm(bracket)) / rms,
        gap=gap,
        holds=bool(lower - slack <= ratio <= upper + slack),
    )
