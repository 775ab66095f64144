"""Windows: bands hold the patches' entries, patches the pixels that a convolution reads; strips change nothing."""

import pytest
import torch
from torch import nn

from kernels import kernel_matrix
from kernels.gradients.windows import Windows
from kernels.machine.scratch import give_back, places_of, reused, scratch_kept
from tests.references import per_sample_jacobian as slow

GEOMETRIES = {
    "plain": (Windows((3, 3), (1, 1), (1, 1), (1, 1), (5, 6)), (5, 6)),
    "strided": (Windows((3, 3), (2, 2), (1, 1), (1, 1), (3, 3)), (5, 6)),
    "stride over kernel": (Windows((2, 2), (3, 3), (1, 1), (0, 0), (2, 2)), (7, 7)),
    "pointwise, strided": (Windows((1, 1), (2, 2), (1, 1), (0, 0), (3, 3)), (5, 6)),
    "dilated and strided": (Windows((3, 2), (2, 1), (3, 2), (2, 1), (2, 6)), (7, 6)),
    "one axis": (Windows((4,), (3,), (2,), (2,), (3,)), (9,)),
    "three axes": (Windows((2, 1, 3), (1, 2, 1), (1, 1, 1), (0, 0, 1), (2, 2, 4)), (3, 4, 4)),
    "rows left over": (Windows((2, 2), (2, 2), (1, 1), (0, 0), (2, 2)), (5, 5)),
}


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("layout", ["contiguous", "channels last", "expanded"])
def test_bands_and_patches_hold_what_a_convolution_reads(name: str, layout: str) -> None:
    windows, extent = GEOMETRIES[name]
    axes = len(extent)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, 3, *extent, generator=generator, dtype=torch.float64)
    if layout == "channels last":
        images = images.movedim(1, -1).contiguous().movedim(-1, 1)
    if layout == "expanded":
        images = images[:1].expand(4, *images.shape[1:])
    patches = windows.patches(images)
    weight = torch.randn(5, 3, *windows.kernel, generator=generator, dtype=torch.float64)
    read = [
        (n - 1) * r + d * (k - 1) + 1
        for n, r, d, k in zip(windows.space, windows.stride, windows.dilation, windows.kernel, strict=True)
    ]
    sides = [(p, n - p - x) for p, n, x in zip(windows.before, read, extent, strict=True)]
    padded = nn.functional.pad(images, [amount for side in reversed(sides) for amount in side])
    convolve = (torch.conv1d, torch.conv2d, torch.conv3d)[axes - 1]
    expected = convolve(padded, weight, stride=windows.stride, dilation=windows.dilation)
    torch.testing.assert_close(patches @ weight.flatten(1).T, expected.flatten(2).transpose(1, 2))
    one = convolve(padded, weight[:1], stride=windows.stride, dilation=windows.dilation)
    torch.testing.assert_close(windows.projected(images, weight[0].flatten()), one.flatten(2).transpose(1, 2))
    grouped = weight[0, 0].flatten()  # three groups of one channel, all with the same vector
    each = torch.einsum("ntgj,j->ntg", patches.unflatten(2, (3, -1)), grouped)
    torch.testing.assert_close(windows.projected(images, grouped), each)

    whole = patches.unflatten(2, (3, windows.kernel[0], -1))
    bands = windows.bands(images)
    assert len(bands) == windows.kernel[0]
    for u, band in enumerate(bands):
        assert torch.equal(band.unflatten(2, (3, -1)), whole[:, :, :, u])
    with scratch_kept():
        for _ in range(2):  # the second time in memory that has been written to
            place = places_of(images, "test")
            found, others = windows.bands(images, place), windows.patches(2 * images, place)
            assert all(map(torch.equal, found, bands)) and torch.equal(others, 2 * patches)
        first = reused(images, 1, "test 0").data_ptr()
        give_back("tes")
        assert reused(images, 1, "test 0").data_ptr() == first
        give_back("test")
        assert reused(images, 1, "test 0").numel() == 1


@pytest.mark.parametrize("form", ["position", "shift", "feature"])
def test_a_kernel_of_several_strips_and_bands(form: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 4, 3, 2, 1), nn.Flatten())
    model = nn.Sequential(model, nn.Linear(100, 2)).double()
    images = torch.randn(17, 2, 10, 10, dtype=torch.float64)
    jacobian = slow.flat(slow.jacobian(model, images))
    found = kernel_matrix(model, images, normalize=False, precision="float64", forms={"0.0": form, "0.2": form})
    expected = torch.einsum("ncp,mcp->nm", jacobian, jacobian)
    torch.testing.assert_close(found.matrix, expected, rtol=1e-10, atol=1e-10 * float(expected.abs().max()))
