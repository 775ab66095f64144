"""The kernel machine that a configuration asks for."""

from __future__ import annotations

import warnings
from typing import Any

from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning

from analysis.surrogates.blocked_kernel import each_pass
from analysis.surrogates.glm import KernelGLM
from analysis.surrogates.glm_cv import KernelGLMCV
from analysis.surrogates.neighbors import KernelNeighbors
from analysis.surrogates.ridge import KernelRidgeSurrogate
from analysis.surrogates.svm import KernelSVM
from pipeline.config.run import RunConfig
from pipeline.machine.progress import counted
from pipeline.stages.kernel.read import KernelSide
from pipeline.stages.surrogate.foreseen import refuse_rare_classes

Surrogate = KernelGLM | KernelSVM | KernelRidgeSurrogate | KernelNeighbors


def make_surrogate(config: RunConfig, device: str = "cpu") -> Surrogate:
    """Build the configured estimator, unfitted.

    Parameters
    ----------
    config : RunConfig
        Of the run.
    device : str
        Of its products with the kernel. The stage ``surrogate`` computes on CPUs everywhere, so that a cluster keeps no
        GPU waiting for it.
    """
    choice = config.surrogate
    if choice.kind == "svm":
        return KernelSVM(choice.cost, random_state=choice.seed)
    if choice.kind == "ridge":
        return KernelRidgeSurrogate(choice.alpha)
    if choice.kind == "knn":
        return KernelNeighbors(choice.neighbors)
    options: dict[str, Any] = {
        "formulation": choice.link,
        "penalty": choice.penalty,
        "device": device,
        "random_state": choice.seed,
    }
    return KernelGLMCV(**options) if choice.alpha is None else KernelGLM(choice.alpha, **options)


def fit_surrogate(model: Surrogate, train: KernelSide, config: RunConfig) -> tuple[Surrogate, list[str]]:
    """Fit on true labels or on the network's outputs; return the model and the solver's warnings.

    Raises
    ------
    UserError
        If cross-validation cannot hold out a point of every class.
    """
    if isinstance(model, KernelGLMCV):
        refuse_rare_classes(train.labels)
    given: dict[str, Any] = {}
    if config.surrogate.targets == "network":
        glm = isinstance(model, KernelGLM)
        given = {"probabilities": softmax(train.network, axis=1)} if glm else {"logits": train.network}
    tell = counted("fit: {} passes over the kernel")
    with warnings.catch_warnings(record=True) as caught, each_pass(tell):
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(train.kernel, train.labels, **given)
    return model, [str(entry.message) for entry in caught if issubclass(entry.category, ConvergenceWarning)]
