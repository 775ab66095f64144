"""Kernels multiply in the arithmetic that was named, regardless of process settings, which they restore."""

from collections.abc import Iterator
from contextlib import nullcontext
from functools import cache

import pytest
import torch
from torch import nn

from kernels import fit_ekfac, influence_scores, kernel_features, kernel_matrix, layer_features, layer_jacobians, verify
from kernels.machine.precision import PRECISIONS

OPERATIONS = [
    torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn,
    torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv, torch.backends.mkldnn.rnn,
]  # fmt: skip


def flags() -> list[str]:
    return [one.fp32_precision for one in OPERATIONS]


@pytest.fixture
def restored() -> Iterator[None]:
    """The process's own settings come back after a test that changes them."""
    legacy, before = torch.get_float32_matmul_precision(), flags()
    yield
    for one in (torch.backends, torch.backends.cudnn, torch.backends.mkldnn, torch.backends.cuda.matmul):
        one.fp32_precision = "none"
    torch.set_float32_matmul_precision(legacy)
    for one, value in zip(OPERATIONS, before, strict=True):
        one.fp32_precision = value
    assert flags() == before


def everything(precision: str = "float32") -> list[torch.Tensor]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 16, 3, 2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 64), nn.Tanh())
    model = network.append(nn.Linear(64, 3)).eval()
    x, y = torch.randn(16, 3, 8, 8), torch.arange(16) % 3
    fisher = fit_ekfac(model, x)
    features = kernel_features(model, x, sketch="tensorsketch", dim=64, precision=precision)
    return [
        kernel_matrix(model, x, kind="trntk", precision=precision).matrix,
        kernel_matrix(model, x, kind="pntk", precision=precision, forms="feature").matrix,
        kernel_matrix(model, x, kind="conjugate", precision=precision).matrix,
        features.values,
        features.gram(),
        torch.cat([part.flatten() for part in layer_jacobians(model, x, precision=precision).values()]),
        influence_scores(model, fisher, x, x[:4], labels=y, test_labels=y[:4]),
        next(iter(layer_features(model, x))).features["3"],
        torch.tensor(verify(model, x[:3]).contraction_error),
    ]


@cache
def undisturbed() -> list[torch.Tensor]:
    return everything()


MEDIUM = {"legacy": lambda: torch.set_float32_matmul_precision("medium")}
MEDIUM["of operations"] = lambda: setattr(torch.backends.cuda.matmul, "fp32_precision", "tf32")
MEDIUM["of the whole process"] = lambda: setattr(torch.backends, "fp32_precision", "bf16")


@pytest.mark.parametrize(
    "setting",
    [pytest.param(name, marks=[pytest.mark.slow] if name != "legacy" else []) for name in MEDIUM] + ["autocast"],
)
def test_settings_of_the_process_change_no_bit(setting: str, restored) -> None:
    expected = undisturbed()
    if setting in MEDIUM:
        MEDIUM[setting]()
    before = flags()
    with torch.autocast("cpu", torch.bfloat16) if setting == "autocast" else nullcontext():
        found = everything()
        everything("tf32")
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)
    assert flags() == before
    if setting == "legacy":
        assert torch.get_float32_matmul_precision() == "medium"


def test_partial_sums_are_full_in_contractions_and_as_before_behind_them() -> None:
    matmul = torch.backends.cuda.matmul
    for before in ((False, False), (True, True)):
        matmul.allow_bf16_reduced_precision_reduction = before
        with PRECISIONS["bfloat16"].contraction():
            assert matmul.allow_bf16_reduced_precision_reduction is False
        found = (matmul.allow_bf16_reduced_precision_reduction, matmul.allow_bf16_reduced_precision_reduction_split_k)
        assert found == before


def test_algorithms_of_convolutions_are_fixed_in_passes_and_restored() -> None:
    cudnn = torch.backends.cudnn
    before = (cudnn.benchmark, cudnn.deterministic)
    try:
        cudnn.benchmark, cudnn.deterministic = True, False
        with PRECISIONS["float32"].strict_passes():
            assert (cudnn.benchmark, cudnn.deterministic) == (False, True)
        assert (cudnn.benchmark, cudnn.deterministic) == (True, False)
    finally:
        cudnn.benchmark, cudnn.deterministic = before
