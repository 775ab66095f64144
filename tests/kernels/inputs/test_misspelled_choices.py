"""A misspelled option, name or number is refused in a sentence that names the right ones."""

import pytest
import torch

import kernels
from tests.kernels.inputs.rows import X, Y, linear


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (
            lambda: kernels.fit_ekfac(linear(), X, fisher="Empirical", labels=Y),
            "'Empirical': use one of sampled",
        ),
        (lambda: kernels.fit_ekfac(linear(), X, draws=0), "draws=0 must be at least 1"),
        (lambda: kernels.effective_rank(torch.ones(2), "entrpy"), "unknown measure 'entrpy': use one of entropy"),
        (lambda: kernels.kernel_features(linear(), X, dim=8, layerwise="module"), "layerwise='module': use True"),
        (lambda: kernels.influence_scores(linear(), None, X, X, layerwise="tensor"), "layerwise='tensor': use True"),
        (lambda: kernels.kernel_matrix(linear(), X, forms={"nothing": "position"}), "forms= names 'nothing'"),
        (lambda: kernels.kernel_matrix(linear(), X, layers=["0.wieght"]), "did you mean '0.weight'"),
        (lambda: kernels.kernel_matrix(linear(), X, fallback=["9"]), "no parameter or module named '9'"),
        (lambda: kernels.KernelOperator(linear(), X, fallback=["9"]), "no parameter or module named '9'"),
        (lambda: kernels.kernel_matrix(linear(), X, output_layer="2"), "output_layer='2' has no meaning for kind"),
        (lambda: kernels.kernel_features(linear(), X, dim=8, append_one=True), "append_one=True has no meaning"),
        (
            lambda: next(kernels.layer_features(linear(), X, batch_size=0)),
            "batch_size=0 must be a whole number of at least 1",
        ),
        (lambda: kernels.autograd_kernel(linear(), X, chunk=0), "chunk=0 must be a whole number of at least 1"),
        (
            lambda: kernels.influence_scores(linear(), None, X, X, cotangent="los"),
            "unknown cotangent .los.: use",
        ),
        (lambda: kernels.kernel_matrix(linear(), X, batch_size="many"), "batch_size='many' is no whole number"),
        (lambda: kernels.kernel_matrix(linear(), X, layerwise={}), "layerwise={} has no groups"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_misspelled_choice_is_named_with_the_right_ones(call, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call()
