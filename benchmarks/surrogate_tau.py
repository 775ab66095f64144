"""What a kernel's arithmetic does to its surrogate: rank correlation with the network, from the Gram matrix."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from analysis.surrogates.faithfulness import measure_faithfulness
from analysis.surrogates.glm import KernelGLM

TRAINING_SHARE = 5 / 6


def surrogate_tau(model: nn.Module, images: Tensor, labels: np.ndarray, gram: Tensor) -> dict[str, float]:
    """Fit a kernel machine on the first five sixths of the samples and compare it with the network on the rest.

    Parameters
    ----------
    model : nn.Module
        The kernel's network.
    images : Tensor, shape (n, 3, 32, 32)
    labels : ndarray of int, shape (n,)
    gram : Tensor, shape (n, n)
        Unnormalized kernel of all of them.

    Returns
    -------
    dict
        Kendall's τ of the true class's log odds, both accuracies, and the sizes.
    """
    device = next(model.parameters()).device
    cut = int(len(labels) * TRAINING_SHARE)
    scale = gram.diagonal().sqrt()
    cosine = (gram / scale[:, None] / scale).cpu().numpy()
    machine = KernelGLM(device=str(device)).fit(cosine[:cut, :cut], labels[:cut])
    scores = machine.log_scores(cosine[cut:, :cut])
    with torch.no_grad():
        batches = [model(batch.to(device)).double().cpu() for batch in images[cut:].split(500)]
    rows = measure_faithfulness(torch.cat(batches).numpy(), scores, labels[cut:], n_resamples=0)
    found = {(row.metric, row.variant): row.value for row in rows}
    return {
        "tau": found["kendall", "correct"],
        "network_accuracy": found["accuracy", "network"],
        "surrogate_accuracy": found["accuracy", "surrogate"],
        "surrogate_train": cut,
        "surrogate_test": len(labels) - cut,
    }
