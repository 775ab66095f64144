"""Identities that hold for every network and any numbers."""

from itertools import product
from math import acos, pi, sin, sqrt

import pytest
import torch
from torch import Tensor, nn

from kernels import kernel_matrix, layer_factors
from tests.kernels.cases import BY_NAME, make
from tests.references import per_sample_jacobian as slow

RAW = {"normalize": False, "precision": "float64"}


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance * float(expected.abs().max()))


@pytest.mark.parametrize(
    "name",
    [
        "mlp",
        pytest.param("tiny_resnet", marks=pytest.mark.slow),
        pytest.param("tiny_gpt2", marks=pytest.mark.slow),
        "bare_parameters",
    ],
)
def test_class_kernels_are_sums_of_the_empirical_ntk(name: str) -> None:
    model, inputs, _ = make(BY_NAME[name], 5)
    blocks = kernel_matrix(model, inputs, kind="entk", **RAW).matrix
    trace = kernel_matrix(model, inputs, kind="trntk", **RAW).matrix
    close(trace, torch.einsum("nmcc->nm", blocks))
    close(kernel_matrix(model, inputs, kind="pntk", **RAW).matrix, blocks.sum((2, 3)))
    signs = [torch.tensor(v, dtype=torch.float64) for v in product((1.0, -1.0), repeat=blocks.shape[2])]
    probes = torch.zeros_like(trace)
    for v in signs:
        parts = layer_factors(model, inputs, cotangent=lambda f, _, v=v: f @ v, precision="float64", batch_size=5)
        for block in next(parts).blocks:
            for gradient in block.gradients().values():
                probes += gradient.flatten(1) @ gradient.flatten(1).T
    close(probes / len(signs), trace)


def test_one_output_makes_trace_and_sum_kernels_equal() -> None:
    model, inputs, _ = make(BY_NAME["mlp_one_output"], 5)
    close(
        kernel_matrix(model, inputs, kind="trntk", **RAW).matrix,
        kernel_matrix(model, inputs, kind="pntk", **RAW).matrix,
    )


def test_output_layer_part_is_the_conjugate_kernel() -> None:
    model, inputs, _ = make(BY_NAME["mlp"], 5)
    conjugate = kernel_matrix(model, inputs, kind="conjugate", append_one=True, **RAW).matrix
    for kind in ("trntk", "pntk"):
        part = kernel_matrix(model, inputs, kind=kind, layerwise="module", **RAW).parts["4"]
        close(part, 3 * conjugate)


def test_kernel_minus_conjugate_kernel_is_positive_for_one_output() -> None:
    model, inputs, _ = make(BY_NAME["mlp_one_output"], 8)
    rest = kernel_matrix(model, inputs, **RAW).matrix - kernel_matrix(model, inputs, kind="conjugate", **RAW).matrix
    assert float(torch.linalg.eigvalsh(rest)[0]) >= -1e-10 * float(rest.trace())


def test_groups_modules_and_own_normalizer() -> None:
    model, inputs, _ = make(BY_NAME["mlp"], 5)
    groups = {"first": ["0"], "rest": ["2", "4"]}
    total = kernel_matrix(model, inputs, layerwise=groups, precision="float64")
    assert list(total.parts) == ["first", "rest"]
    close(total.parts["first"] + total.parts["rest"], total.matrix)
    own = kernel_matrix(model, inputs, layerwise="module", normalize="part", precision="float64")
    for part in own.parts.values():
        assert torch.equal(part.diagonal(), torch.ones(5, dtype=torch.float64))
        assert float(part.abs().max()) <= 1 + 1e-12


def test_freezing_a_layer_removes_exactly_its_part() -> None:
    model, inputs, _ = make(BY_NAME["tiny_resnet"], 4)
    whole = kernel_matrix(model, inputs, layerwise=True, **RAW)
    name = next(name for name, p in model.named_parameters() if p.ndim == 4)
    model.get_parameter(name).requires_grad_(False)
    frozen = kernel_matrix(model, inputs, **RAW)
    close(frozen.matrix, whole.matrix - whole.parts[name])
    assert frozen.metadata["coverage"]["frozen"] == [name]


@pytest.mark.parametrize(
    "name",
    ["mlp", pytest.param("tiny_resnet", marks=pytest.mark.slow), pytest.param("tiny_bert", marks=pytest.mark.slow)],
)
def test_shape_of_a_cosine_kernel(name: str) -> None:
    model, inputs, _ = make(BY_NAME[name], 6)
    order = torch.tensor([3, 1, 0, 5, 4, 2])
    for kind in ("trntk", "pntk", "entk", "conjugate", "embedding"):
        found = kernel_matrix(model, inputs, kind=kind, precision="float64").matrix
        swapped = found.permute(1, 0, 3, 2) if kind == "entk" else found.T
        assert torch.equal(found, swapped) or kind == "entk" and torch.allclose(found, swapped, atol=1e-14)
        flat = found.permute(0, 2, 1, 3).flatten(0, 1).flatten(1) if kind == "entk" else found
        assert torch.equal(flat.diagonal(), torch.ones(len(flat), dtype=torch.float64))
        assert float(flat.abs().max()) <= 1 + 1e-12
        assert float(torch.linalg.eigvalsh(flat)[0]) >= -1e-10 * len(flat)
        shuffled = kernel_matrix(model, slow.rows(inputs, order), kind=kind, precision="float64").matrix
        close(shuffled, found[order][:, order])
    doubled = slow.rows(inputs, torch.tensor([0, 1, 2, 1]))
    found = kernel_matrix(model, doubled, precision="float64")
    close(found.matrix[1], found.matrix[3], 1e-12)
    assert found.metadata["train_duplicates"] == 1
    again = kernel_matrix(model, doubled, slow.rows(inputs, slice(2, 5)), precision="float64")
    assert again.metadata["test_in_train"] == 1


def test_scaling_the_output_and_moving_its_bias() -> None:
    model, inputs, _ = make(BY_NAME["mlp"], 5)
    before = kernel_matrix(model, inputs, **RAW).matrix
    close(kernel_matrix(model, inputs, output=lambda f: 3 * f, **RAW).matrix, 9 * before)
    with torch.no_grad():
        model[4].bias.add_(torch.tensor([5.0, -1.0, 2.0]))
    close(kernel_matrix(model, inputs, **RAW).matrix, before)
    for kind in ("trntk", "pntk"):
        plain = kernel_matrix(model, inputs, kind=kind, **RAW).matrix
        close(kernel_matrix(model, inputs, kind=kind, output=lambda f: f[:, [2, 0, 1]], **RAW).matrix, plain)


class TwoLayer(nn.Module):
    """sqrt(2/n) a^T relu(W x)."""

    def __init__(self, width: int, inputs: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.W = nn.Parameter(torch.randn(width, inputs, generator=generator, dtype=torch.float64))
        self.a = nn.Parameter(torch.randn(width, generator=generator, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return sqrt(2 / len(self.a)) * (torch.relu(x @ self.W.T) @ self.a)


def test_two_layer_network_in_closed_form_and_at_infinite_width() -> None:
    x = torch.randn(6, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    model = TwoLayer(50, 5, 0)
    z = x @ model.W.detach().T
    gates = (z > 0) * model.a.detach()
    closed = 2 / 50 * (z.relu() @ z.relu().T + (x @ x.T) * (gates @ gates.T))
    found = kernel_matrix(model, x, **RAW)
    close(found.matrix, closed)
    assert found.metadata["coverage"]["fallback"] == {}

    norms = x.norm(dim=1)
    limit = torch.empty(6, 6, dtype=torch.float64)
    for i, j in product(range(6), repeat=2):
        cosine = float((x[i] @ x[j] / norms[i] / norms[j]).clamp(-1, 1))
        angle = acos(cosine)
        limit[i, j] = norms[i] * norms[j] * (sin(angle) + (pi - angle) * cosine) / pi
        limit[i, j] += x[i] @ x[j] * (pi - angle) / pi
    errors = []
    for width in (1_000, 100_000):
        kernel = kernel_matrix(TwoLayer(width, 5, 3), x, **RAW).matrix
        errors.append(float((kernel - limit).norm() / limit.norm()))
    assert errors[0] < 0.15 and errors[1] < 0.02 and errors[1] < errors[0] / 3


def test_a_gradient_step_moves_the_output_along_the_kernel() -> None:
    model, inputs, labels = make(BY_NAME["mlp"], 5)
    blocks = kernel_matrix(model, inputs, kind="entk", **RAW).matrix
    logits = model(inputs)
    slope = torch.softmax(logits.detach(), 1) - torch.nn.functional.one_hot(labels, 3)
    predicted = -torch.einsum("nmcd,md->nc", blocks, slope)
    nn.functional.cross_entropy(logits, labels, reduction="sum").backward()
    start = [p.detach().clone() for p in model.parameters()]
    errors = []
    for eta in (1e-3, 5e-4):
        with torch.no_grad():
            for p, s in zip(model.parameters(), start, strict=True):
                p.copy_(s - eta * p.grad)
            errors.append(float((model(inputs) - logits - eta * predicted).norm()))
    assert 3.5 < errors[0] / errors[1] < 4.5


def test_precisions_are_recorded_and_close() -> None:
    model, inputs, _ = make(BY_NAME["tiny_resnet"], 8, dtype=torch.float32)
    exact = kernel_matrix(model, inputs, precision="float64")
    assert exact.matrix.dtype == torch.float64 and next(model.parameters()).dtype == torch.float32
    for name, tolerance in (("float32", 1e-4), ("tf32", 2e-3), ("bfloat16", 1e-2)):
        found = kernel_matrix(model, inputs, precision=name)
        assert found.metadata["precision"] == name and found.matrix.dtype == torch.float32
        assert float((found.matrix.double() - exact.matrix).abs().max()) < tolerance
