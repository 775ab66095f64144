"""Augmentation equals a pixel-by-pixel reference; normalization and shaping do what their names say."""

import numpy as np
import pytest
import torch

from pipeline.data.errors import DataError
from pipeline.data.images import crop_and_flip, fit_images, normalize_images
from tests.references.image_augmentation import crop_and_flip_slow


@pytest.mark.parametrize("shape,pad", [((5, 3, 8, 8), 4), ((6, 1, 5, 7), 2), ((1, 3, 4, 4), 0)])
def test_crop_and_flip_equals_the_slow_reference(shape, pad):
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    fast = crop_and_flip(images, pad, torch.Generator().manual_seed(7))
    draws = torch.Generator().manual_seed(7)
    tops, lefts = torch.randint(0, 2 * pad + 1, (2, shape[0]), generator=draws)
    mirrored = torch.rand(shape[0], generator=draws) < 0.5
    slow = crop_and_flip_slow(images.numpy(), pad, tops.numpy(), lefts.numpy(), mirrored.numpy())
    assert np.array_equal(fast.numpy(), slow)


def test_augmentation_follows_its_own_generator_only():
    images = torch.randint(0, 256, (64, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    before = torch.random.get_rng_state()
    first = crop_and_flip(images, 2, torch.Generator().manual_seed(3))
    assert torch.equal(first, crop_and_flip(images, 2, torch.Generator().manual_seed(3)))
    assert not torch.equal(first, crop_and_flip(images, 2, torch.Generator().manual_seed(4)))
    assert torch.equal(before, torch.random.get_rng_state())


def test_about_half_of_the_images_are_mirrored():
    ramp = torch.arange(8, dtype=torch.uint8).expand(4000, 1, 8, 8)
    mirrored = crop_and_flip(ramp, 0, torch.Generator().manual_seed(0))[:, 0, 0, 0] == 7
    assert 0.46 < mirrored.float().mean() < 0.54


def test_normalization_is_per_channel():
    images = torch.full((2, 3, 2, 2), 255, dtype=torch.uint8)
    result = normalize_images(images, [0.0, 0.5, 1.0], [1.0, 0.5, 2.0], torch.float64)
    assert result.dtype == torch.float64
    assert result[0, :, 0, 0].tolist() == [1.0, 1.0, 0.0]


def test_padding_is_black_and_gray_is_repeated():
    images = np.full((2, 1, 28, 28), 9, dtype=np.uint8)
    fitted = fit_images(images, 2, 3)
    assert fitted.shape == (2, 3, 32, 32)
    assert (fitted[:, :, 2:-2, 2:-2] == 9).all() and int(fitted.sum()) == 9 * 28 * 28 * 3 * 2


@pytest.mark.parametrize(
    "call",
    [
        lambda: fit_images(np.zeros((1, 3, 4, 4), np.uint8), 0, 1),
        lambda: fit_images(np.zeros((1, 1, 4, 4), np.uint8), -1, None),
        lambda: normalize_images(torch.zeros((1, 3, 4, 4), dtype=torch.uint8), [0.5, 0.5], None),
        lambda: normalize_images(torch.zeros((1, 3, 4, 4), dtype=torch.uint8), None, [0.0]),
    ],
)
def test_shapes_and_numbers_that_do_not_fit_are_refused(call):
    with pytest.raises(DataError, match="data.image"):
        call()
