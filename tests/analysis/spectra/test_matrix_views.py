"""Matrices of stored weights: every layout, and what is refused."""

import pytest
import torch

from analysis.spectra.matrix_views import WeightLayout, matrix_views, skip_reason


def test_every_layout_gives_the_matrix_that_multiplies_the_input() -> None:
    generator = torch.Generator().manual_seed(0)
    linear = torch.nn.Linear(6, 4, bias=False)
    x = torch.randn(3, 6, generator=generator)
    ((label, matrix),) = matrix_views("fc", linear.weight, WeightLayout())
    assert label == "fc"
    torch.testing.assert_close(x @ matrix.T, linear(x))

    fused = torch.randn(6, 12, generator=generator)
    views = dict(matrix_views("attn", fused, WeightLayout("transposed", parts=("q", "k", "v"))))
    assert list(views) == ["attn", "attn[q]", "attn[k]", "attn[v]"]
    q, k, v = (x @ fused).split(4, dim=1)
    torch.testing.assert_close(x @ views["attn[k]"].T, k)
    torch.testing.assert_close(torch.cat([q, k, v], 1), x @ views["attn"].T)

    conv = torch.nn.Conv2d(6, 4, 3, groups=2, bias=False)
    image = torch.randn(1, 6, 3, 3, generator=generator)
    views = dict(matrix_views("conv", conv.weight, WeightLayout("conv", groups=2)))
    assert views["conv[group 1]"].shape == (2, 27)
    torch.testing.assert_close(image[0, 3:].flatten() @ views["conv[group 1]"].T, conv(image)[0, 2:, 0, 0])
    assert len(views) == 2


def test_small_weights_are_skipped_with_a_reason() -> None:
    assert skip_reason(torch.zeros(7)) == "1-D weight"
    assert skip_reason(torch.zeros(49, 500)) == "short side 49 < 50"
    assert skip_reason(torch.zeros(50, 500)) is None


def test_bad_storage_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"h\.0 is stored as torch.int8"):
        matrix_views("h.0", torch.zeros(4, 4, dtype=torch.int8), WeightLayout())
    with pytest.raises(ValueError, match="is a matrix"):
        matrix_views("norm", torch.zeros(4), WeightLayout())
    with pytest.raises(ValueError, match="do not split into 3 parts"):
        matrix_views("qkv", torch.zeros(4, 4), WeightLayout(parts=("q", "k", "v")))
    with pytest.raises(ValueError, match="not a convolution in 3 groups"):
        matrix_views("c", torch.zeros(4, 4, 3, 3), WeightLayout("conv", groups=3))
