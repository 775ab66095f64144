"""How a kernel's spectrum moves while training: eigenvalues, effective rank, label alignment and velocity."""

from __future__ import annotations

import numpy as np
import torch

from kernels.diagnostics import effective_rank, kernel_spectrum, kernel_velocity, target_alignment


def spectral_evolution(steps: list[int], kernels: list[np.ndarray], labels: np.ndarray | None) -> dict[str, np.ndarray]:
    """Spectrum and summary of each snapshot's kernel of one run.

    Parameters
    ----------
    steps : list of int
        Training steps, increasing.
    kernels : list of array, shape (n, n)
        Unnormalized kernels of the same probe points.
    labels : array of int, shape (n,), optional
        Classes of the probe points; without them there is no alignment.

    Returns
    -------
    dict of str to array
        ``eigenvalues`` (steps, n) descending, ``effective_rank``, ``alignment`` (NaN without labels) and ``velocity``
        since the snapshot before, 1 - cosine per step (first entry NaN), each (steps,).

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.spectra import spectral_evolution
    >>> labels = np.array([0, 0, 1, 1])
    >>> learned = np.equal.outer(labels, labels).astype(float)
    >>> found = spectral_evolution([0, 10], [np.eye(4), learned], labels)
    >>> {name: found[name].round(3).tolist() for name in ("effective_rank", "alignment", "velocity")}
    {'effective_rank': [4.0, 2.0], 'alignment': [0.577, 1.0], 'velocity': [nan, 0.029]}
    """
    matrices = [torch.as_tensor(kernel).double() for kernel in kernels]
    spectra = [kernel_spectrum(matrix) for matrix in matrices]
    classes = None if labels is None else torch.as_tensor(labels).long()
    velocity = [float("nan")] + [
        kernel_velocity(matrices[i - 1], matrices[i], steps[i] - steps[i - 1]) for i in range(1, len(steps))
    ]
    return {
        "eigenvalues": torch.stack(spectra).numpy(),
        "effective_rank": np.array([effective_rank(values) for values in spectra]),
        "alignment": np.array(
            [float("nan") if classes is None else target_alignment(matrix, classes) for matrix in matrices]
        ),
        "velocity": np.array(velocity),
    }
