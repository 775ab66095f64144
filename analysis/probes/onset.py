"""Where collapse begins: the first layer from which k-NN, nearest class-center and SVM agree, with its bootstrap.

Only compact, linearly separated classes make all three surrogates agree, so agreement that lasts to the last
layer locates the onset of (intermediate) collapse. arXiv 2309.15328; the one-point tolerance is a proposal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from kernels.arguments import checked_arguments

NO_ONSET = -1
"""Index that means "the surrogates do not agree at the last layer"."""


@dataclass(frozen=True)
class Onset:
    """Layer of onset, and how certain it is with a test set of this size.

    Attributes
    ----------
    index : int
        Index of the layer, or `NO_ONSET`.
    layer : str
        Its name, or "no onset".
    spread : ndarray, shape (L,)
        Largest minus smallest accuracy of the surrogates at each layer.
    probability : ndarray, shape (L + 1,)
        Share of bootstrap draws with their onset at each layer; the last entry is "no onset".
    low, high : int
        Central interval of the bootstrap over layer indices; "no onset" counts as later than the last layer and
        is reported as `NO_ONSET`.
    """

    index: int
    layer: str
    spread: Float[np.ndarray, " L"]
    probability: Float[np.ndarray, " L_plus_1"]
    low: int
    high: int


def onset_layer(accuracies: Float[np.ndarray, "L s"], tolerance: float = 0.01) -> int:
    """First layer from which, there and at every later one, max - min of the accuracies is within tolerance.

    Parameters
    ----------
    accuracies : ndarray, shape (L, s)
        Accuracies (0..1) of s surrogates at L layers in order of depth.
    tolerance : float
        0.01 is one point.

    Returns
    -------
    int
        Layer index, or `NO_ONSET`.
    """
    return int(_first_lasting(np.ptp(accuracies, axis=1)[None] <= tolerance + 1e-12)[0])


@checked_arguments
def bootstrap_onset(
    correct: Bool[np.ndarray, "L s m"],
    layers: Sequence[str],
    *,
    generator: np.random.Generator,
    tolerance: float = 0.01,
    draws: int = 1000,
    level: float = 0.95,
) -> Onset:
    """Find the onset and resample test rows, the same ones at every layer and for every surrogate.

    Parameters
    ----------
    correct : bool ndarray, shape (L, s, m)
        Whether surrogate s at layer L classifies test row m correctly.
    layers : sequence of str
        Names in order of depth.
    generator : numpy Generator
        Draws the resamples.
    tolerance : float
    draws : int
    level : float
        Coverage of the interval.

    Returns
    -------
    Onset

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.probes import bootstrap_onset
    >>> rng = np.random.default_rng(0)
    >>> hit = rng.random(500) < 0.95
    >>> correct = np.stack([rng.random((3, 500)) < 0.6 + 0.1 * np.arange(3)[:, None], np.tile(hit, (3, 1))])
    >>> found = bootstrap_onset(correct, ["block1", "block2"], generator=rng)
    >>> found.layer, found.probability.tolist()
    ('block2', [0.0, 1.0, 0.0])
    """
    depth, _, rows = correct.shape
    if len(layers) != depth or rows == 0:
        raise ValueError(f"{len(layers)} layer names for correctness of shape {correct.shape}.")
    if draws < 1:
        raise ValueError(f"draws={draws} must be at least 1, such as draws=1000.")
    if not 0 < level < 1:
        raise ValueError(f"level={level} must be between 0 and 1, such as level=0.95.")
    if correct.shape[1] < 2:
        raise ValueError("an onset compares at least two surrogates.")
    accuracies = correct.mean(axis=2)
    index = onset_layer(accuracies, tolerance)
    counts = generator.multinomial(rows, np.full(rows, 1.0 / rows), size=draws)
    resampled = np.tensordot(counts / rows, correct.astype(np.float64), axes=(1, 2))
    found = _first_lasting(np.ptp(resampled, axis=2) <= tolerance + 1e-12)
    position = np.where(found == NO_ONSET, depth, found)
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(position, [tail, 1.0 - tail], method="inverted_cdf").astype(int)
    return Onset(
        index=index,
        layer="no onset" if index == NO_ONSET else layers[index],
        spread=np.ptp(accuracies, axis=1),
        probability=np.bincount(position, minlength=depth + 1) / draws,
        low=NO_ONSET if low == depth else int(low),
        high=NO_ONSET if high == depth else int(high),
    )


def components_needed(
    ks: Int[np.ndarray, " K"], accuracy: Float[np.ndarray, " K"], everything: float, tolerance: float = 0.01
) -> int | None:
    """Smallest k of the grid from which on accuracy stays within `tolerance` of that of all components (k*).

    Parameters
    ----------
    ks : int ndarray, shape (K,)
        Ascending numbers of components.
    accuracy : ndarray, shape (K,)
    everything : float
        Accuracy on all components.
    tolerance : float
        ε.

    Returns
    -------
    int or None
        None where even the largest k of the grid falls short.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.probes import components_needed
    >>> components_needed(np.array([1, 2, 4, 8]), np.array([0.40, 0.92, 0.90, 0.93]), everything=0.93)
    8
    >>> components_needed(np.array([1, 2, 4, 8]), np.array([0.40, 0.92, 0.92, 0.93]), everything=0.93)
    2
    """
    enough = accuracy >= everything - tolerance - 1e-12
    first = int(_first_lasting(enough[None])[0])
    return None if first == NO_ONSET else int(ks[first])


def _first_lasting(holds: Bool[np.ndarray, "draws L"]) -> Int[np.ndarray, " draws"]:
    lasting = np.logical_and.accumulate(holds[:, ::-1], axis=1)[:, ::-1]
    return np.where(lasting.any(axis=1), lasting.argmax(axis=1), NO_ONSET)
