"""``sketch=`` estimates a kernel within the error that it reports, and records its map."""

import pytest
import torch

from kernels import kernel_features, kernel_matrix
from tests.kernels.cases import BY_NAME, make


@pytest.mark.parametrize("kind", ["trntk", "pntk"])
@pytest.mark.parametrize("sketch", ["tensorsketch", "countsketch", "rademacher"])
def test_the_estimate_is_the_features_gram_and_within_its_error(kind: str, sketch: str) -> None:
    model, inputs, _ = make(BY_NAME["mlp"], 8)
    options = {"kind": kind, "precision": "float64"}
    size = {"sketch": sketch, "dim": 64, "seed": 3}
    found = kernel_matrix(model, inputs, **size, **options)
    features = kernel_features(model, inputs, **size, **options)
    torch.testing.assert_close(found.matrix, features.gram())
    cross = kernel_matrix(model, inputs[:4], inputs[4:], **size, **options)
    torch.testing.assert_close(cross.matrix, found.matrix[4:, :4])
    about = found.metadata["sketch"]
    assert (about["sketch"], about["dim"], about["seed"]) == (sketch, "64", "3")
    exact = kernel_matrix(model, inputs, **options).matrix
    errors = torch.stack(
        [kernel_matrix(model, inputs, **size | {"seed": s}, **options).matrix - exact for s in range(4)]
    )
    assert errors.abs().mean() < 4 * float(about["expected_error"])


def test_what_a_sketched_kernel_refuses() -> None:
    model, inputs, _ = make(BY_NAME["mlp"], 3)
    for options, message in [
        ({"kind": "conjugate", "sketch": "tensorsketch", "dim": 8}, "has no sketch"),
        ({"layerwise": True, "sketch": "tensorsketch", "dim": 8}, "layerwise: not for a sketched"),
        ({"sketch": "tensorsketch"}, "needs dim="),
        ({"sketch": "tensorsketch", "dim": 0}, "at least one dimension"),
        ({"sketch": "tensorsketch", "dim": 10**9}, "exceeds the"),
        ({"dim": 8}, "without sketch="),
    ]:
        with pytest.raises(ValueError, match=message):
            kernel_matrix(model, inputs, precision="float64", **options)
