"""WeightWatcher's alpha is the one that WeightWatcher and the package powerlaw print, and stays within its limits."""

import numpy as np
import pytest

from analysis.spectra import weightwatcher_alpha, weightwatcher_fit


def spectrum(kind: str, seed: int = 0) -> np.ndarray:
    """Eigenvalues of noise, of noise with a spike, or of a heavy tail."""
    rng = np.random.default_rng(seed)
    if kind == "tail":
        return np.sort(rng.pareto(1.5, 300) + 1)
    matrix = rng.standard_normal((120, 80))
    if kind == "spike":
        matrix[:, 0] *= 6
    return np.linalg.eigvalsh(matrix.T @ matrix)


def slow_fit(values: np.ndarray) -> tuple[float, float, float]:
    """Exponent, start and distance, value by value."""
    values = np.sort(values)
    found = []
    for x_min in values[:-1]:
        tail = values[values >= x_min]
        alpha = 1 + len(tail) / sum(np.log(x / x_min) for x in tail)
        gaps = [abs(1 - (x / x_min) ** (1 - alpha) - rank / len(tail)) for rank, x in enumerate(tail)]
        found.append((max(gaps), alpha, x_min))
    distance, alpha, x_min = min(found)
    return alpha, x_min, distance


@pytest.mark.parametrize("kind", ["noise", "spike", "tail"])
def test_the_fit_is_that_of_the_slow_reference(kind):
    values = spectrum(kind)
    found = weightwatcher_fit(values)
    np.testing.assert_allclose((found.alpha, found.x_min, found.distance), slow_fit(values), rtol=1e-10)


@pytest.mark.parametrize("kind", ["noise", "spike", "tail"])
def test_the_fit_is_that_of_weightwatcher(kind):
    theirs = pytest.importorskip("weightwatcher.WW_powerlaw", reason="weightwatcher is not installed").WWFit
    values = spectrum(kind)
    fit, found = theirs(values), weightwatcher_fit(values)
    np.testing.assert_allclose((found.alpha, found.x_min, found.distance), (fit.alpha, fit.xmin, fit.D), rtol=1e-12)


def test_at_the_same_start_the_exponent_is_that_of_powerlaw():
    powerlaw = pytest.importorskip("powerlaw", reason="powerlaw is not installed")
    values = spectrum("tail")
    found = weightwatcher_fit(values)
    assert found.alpha == pytest.approx(powerlaw.Fit(values, xmin=found.x_min, verbose=False).power_law.alpha, rel=1e-6)


def test_a_planted_exponent_is_found_and_noise_is_left_out():
    alpha = weightwatcher_alpha(spectrum("tail"))
    assert alpha is not None and abs(alpha - 2.5) < 0.25
    assert weightwatcher_alpha(np.full(60, 2.0)) is None, "equal eigenvalues have no tail"
    assert weightwatcher_alpha(spectrum("tail")[:49]) is None, "too few for a sound fit"
    steep = np.random.default_rng(0).pareto(9, 300) + 1
    assert weightwatcher_fit(steep).alpha > 6 and weightwatcher_alpha(steep) is None


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(ValueError, match="needs 20 eigenvalues above 1e-05 that differ, got 19"):
        weightwatcher_fit(np.arange(1.0, 20.0))
    with pytest.raises(ValueError, match="hold infinities"):
        weightwatcher_fit(np.r_[np.arange(1.0, 30.0), np.inf])
