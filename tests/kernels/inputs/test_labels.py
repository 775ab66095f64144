"""Labels that are no class index of every sample are refused in a sentence that names the first of them."""

import pytest
import torch
from torch import nn

import kernels
from kernels.inputs import Samples
from tests.kernels.inputs.rows import X, Y, linear


@pytest.mark.parametrize("labels", [["a"] * 6, iter([0] * 6)], ids=["words", "an iterator"])
def test_labels_that_are_no_numbers_are_refused(labels) -> None:
    with pytest.raises(TypeError, match="train labels are a list.*torch.tensor"):
        Samples(X, labels)


LABELED = {
    "kernel_matrix": lambda labels: kernels.kernel_matrix(linear(), X, kind="loss_gradient", labels=labels),
    "small passes": lambda labels: kernels.kernel_matrix(
        linear(), X, kind="loss_gradient", labels=labels, batch_size=2, block_rows=2
    ),
    "test points": lambda labels: kernels.kernel_matrix(
        linear(), X, X, kind="loss_gradient", labels=Y, test_labels=labels
    ),
    "sketched": lambda labels: kernels.kernel_matrix(
        linear(), X, kind="loss_gradient", labels=labels, sketch="tensorsketch", dim=8
    ),
    "features": lambda labels: kernels.kernel_features(linear(), X, kind="log_odds", labels=labels, dim=8),
    "jacobians": lambda labels: kernels.layer_jacobians(linear(), X, cotangent="loss", labels=labels, batch_size=2),
    "fisher_blocks": lambda labels: kernels.fisher_blocks(linear(), X, cotangent="log_odds", labels=labels),
    "autograd": lambda labels: kernels.autograd_kernel(linear(), X, cotangent="loss", labels=labels, chunk=2),
    "fit_ekfac": lambda labels: kernels.fit_ekfac(linear(), X, fisher="empirical", labels=labels, batch_size=2),
    "influence": lambda labels: kernels.influence_scores(
        linear(), kernels.fit_ekfac(linear(), X), X, X, labels=Y, test_labels=labels
    ),
}


@pytest.mark.parametrize("function", LABELED)
def test_labels_that_are_no_classes_are_named_with_their_sample(function: str) -> None:
    wrong = {
        "sample 4 is -100, which means": Y.clone().index_fill_(0, torch.tensor([4]), -100),
        "sample 5 is 7, and the model has 3 outputs": Y.clone().index_fill_(0, torch.tensor([5]), 7),
        r"6 class indices below 3, got shape \(6, 3\) torch.float32": torch.rand(6, 3),
        "argmax": nn.functional.one_hot(Y, 3),
        "class indices below 3": Y + 0.7,
        "pass labels.long": Y.float(),
    }
    for match, labels in wrong.items():
        with pytest.raises(ValueError, match=match):
            LABELED[function](labels)
