"""What the definitions imply: traces and sums of blocks, sign probes, closed forms, limits, a step of training."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from kernels.gram import kernel_matrix
from tests.kernels.cases import BY_NAME, make
from tests.kernels.small_models import mlp


def kernel(model: nn.Module, inputs: Tensor, kind: str, **options) -> Tensor:
    return kernel_matrix(model, inputs, kind=kind, normalize=False, precision="float64", **options).matrix


def seeded(build, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build().double().eval()


def points(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Combined(nn.Module):
    """Fixed linear map of a model's logits."""

    def __init__(self, model: nn.Module, matrix: Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("matrix", matrix)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x) @ self.matrix.T


class TwoLayer(nn.Module):
    """f(x) = sqrt(2/n) A relu(W x) with A, W ~ N(0, 1)."""

    def __init__(self, d: int, n: int, classes: int = 1) -> None:
        super().__init__()
        self.w, self.a = nn.Parameter(torch.randn(n, d)), nn.Parameter(torch.randn(classes, n))

    def forward(self, x: Tensor) -> Tensor:
        return (2 / len(self.w)) ** 0.5 * (torch.relu(x @ self.w.T) @ self.a.T)


@pytest.mark.parametrize("name", ["mlp", "conv2d_groups", "tiny_resnet"])
def test_trace_and_sum_of_the_empirical_blocks(name: str) -> None:
    model, inputs, _ = make(BY_NAME[name])
    blocks = kernel(model, inputs, "entk")
    torch.testing.assert_close(kernel(model, inputs, "trntk"), torch.einsum("nmcc->nm", blocks), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(kernel(model, inputs, "pntk"), blocks.sum((2, 3)), rtol=1e-10, atol=1e-12)


def test_mean_over_all_sign_vectors_is_the_trace_kernel() -> None:
    model, inputs, _ = make(BY_NAME["mlp"])
    probes = []
    for signs in itertools.product([-1.0, 1.0], repeat=3):
        one = Combined(model, torch.tensor([signs], dtype=torch.float64))
        probes.append(kernel(one, inputs, "pntk"))
    expected = kernel(model, inputs, "trntk")
    torch.testing.assert_close(torch.stack(probes).mean(0), expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(probes[-1], kernel(model, inputs, "pntk"), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("normalize", [True, False])
def test_one_output_makes_trace_and_pseudo_kernel_one(normalize: bool) -> None:
    model, inputs, _ = make(BY_NAME["mlp_one_output"])
    found = [
        kernel_matrix(model, inputs, kind=kind, normalize=normalize, precision="float64").matrix
        for kind in ("trntk", "pntk")
    ]
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", ["trntk", "pntk"])
def test_output_layer_part_is_classes_times_the_conjugate_kernel_plus_one(kind: str) -> None:
    model, inputs, _ = make(BY_NAME["mlp"])
    parts = kernel_matrix(model, inputs, kind=kind, normalize=False, precision="float64", layerwise="module").parts
    plus_one = kernel(model, inputs, "conjugate", append_one=True)
    torch.testing.assert_close(parts["4"], 3 * plus_one, rtol=1e-10, atol=1e-12)


def test_tangent_minus_conjugate_kernel_is_positive_for_one_output() -> None:
    model, inputs, _ = make(BY_NAME["mlp_one_output"], n=12)
    tangent, conjugate = kernel(model, inputs, "trntk"), kernel(model, inputs, "conjugate")
    assert torch.linalg.eigvalsh(tangent - conjugate).min() > -1e-10 * tangent.trace()
    values, vectors = torch.linalg.eigh(tangent)
    null = vectors[:, values < 1e-10 * values.max()]
    assert not null.numel() or (conjugate @ null).abs().max() < 1e-8 * conjugate.abs().max()


def test_gap_between_pseudo_and_trace_kernel_shrinks_like_one_over_root_width() -> None:
    def gap(width: int) -> float:
        found = []
        for seed in range(4):
            model = seeded(lambda: TwoLayer(20, width, classes=10), seed)
            inputs = points(12, 20, seed)
            trace, pseudo = kernel(model, inputs, "trntk"), kernel(model, inputs, "pntk")
            found.append(float((pseudo - trace).norm() / trace.norm()))
        return sum(found) / len(found)

    assert 2.0 < gap(32) / gap(32 * 16) < 8.0  # 4 by the law


@pytest.mark.parametrize("activation", [torch.tanh, torch.relu])
def test_plain_mlp_has_its_closed_form(activation) -> None:
    kinds = {torch.tanh: nn.Tanh, torch.relu: nn.ReLU}
    model = seeded(lambda: mlp(5, 9, 7, 1, activation=kinds[activation]))
    x = points(6, 5)
    weights = [(m.weight.detach(), m.bias.detach()) for m in model if isinstance(m, nn.Linear)]
    hidden, slopes = [x], []
    for w, b in weights[:-1]:
        z = hidden[-1] @ w.T + b
        hidden.append(activation(z))
        slopes.append(1 - torch.tanh(z) ** 2 if activation is torch.tanh else (z > 0).double())
    s = [torch.ones(6, 1, dtype=torch.float64)]
    for (w, _), slope in zip(weights[:0:-1], slopes[::-1], strict=True):
        s.insert(0, slope * (s[0] @ w))
    expected = sum((h @ h.T + 1) * (one @ one.T) for h, one in zip(hidden, s, strict=True))
    torch.testing.assert_close(kernel(model, x, "trntk"), expected, rtol=1e-11, atol=1e-12)


class Scaled(nn.Module):
    """x_l = tanh(W_l x_{l-1}) / sqrt(d_l), the last layer linear: the scaling of torchNTK (no biases)."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(i, o, bias=False) for i, o in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = torch.tanh(layer(x)) / math.sqrt(layer.out_features)
        return self.layers[-1](x) / math.sqrt(self.layers[-1].out_features)


def test_scaled_mlp_has_torchntks_layer_parts() -> None:
    model = seeded(lambda: Scaled(5, 8, 6, 1))
    x = points(4, 5)
    inputs, slopes = [x], []
    for layer in model.layers[:-1]:
        z = inputs[-1] @ layer.weight.T
        slopes.append((1 - torch.tanh(z) ** 2).detach())
        inputs.append((torch.tanh(z) / math.sqrt(layer.out_features)).detach())
    s = torch.ones(4, 1, dtype=torch.float64)
    parts = kernel_matrix(model, x, kind="trntk", normalize=False, precision="float64", layerwise=True).parts
    for at in range(2, -1, -1):
        width = model.layers[at].out_features
        expected = (s @ s.T) * (inputs[at] @ inputs[at].T) / width
        torch.testing.assert_close(parts[f"layers.{at}.weight"], expected, rtol=1e-11, atol=1e-13)
        if at:
            s = slopes[at - 1] * (s @ model.layers[at].weight.detach()) / math.sqrt(width)


def test_two_layer_relu_has_its_closed_form() -> None:
    model, x = seeded(lambda: TwoLayer(5, 40)), points(7, 5)
    z, a = (x @ model.w.T).detach(), model.a.detach()[0]
    active = (z > 0).double() * a
    expected = 2 / 40 * (torch.relu(z) @ torch.relu(z).T + (x @ x.T) * (active @ active.T))
    torch.testing.assert_close(kernel(model, x, "trntk"), expected, rtol=1e-11, atol=1e-12)


def test_wide_two_layer_relu_approaches_the_arc_cosine_kernel() -> None:
    x = points(8, 5)
    norms = x.norm(dim=1)
    cosine = ((x @ x.T) / (norms[:, None] * norms)).clamp(-1, 1)
    phi = torch.acos(cosine)
    turn = torch.pi - phi
    expected = norms[:, None] * norms * (phi.sin() + turn * cosine) / torch.pi + (x @ x.T) * turn / torch.pi

    def error(width: int) -> float:
        found = [kernel(seeded(lambda: TwoLayer(5, width), seed), x, "trntk") for seed in range(4)]
        return sum(float((one - expected).norm() / expected.norm()) for one in found) / 4

    narrow, wide = error(1_000), error(16_000)
    assert narrow < 0.12 and wide < 0.03
    assert 2.0 < narrow / wide < 8.0  # 4 by the central limit theorem


def test_scaling_the_logits_and_the_last_bias() -> None:
    model, inputs, _ = make(BY_NAME["mlp"])
    before = {kind: kernel(model, inputs, kind) for kind in ("trntk", "pntk")}
    swapped = Combined(model, torch.eye(3, dtype=torch.float64)[[2, 0, 1]])
    scaled = Combined(model, 3 * torch.eye(3, dtype=torch.float64))
    for kind, old in before.items():
        torch.testing.assert_close(kernel(swapped, inputs, kind), old, rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(kernel(scaled, inputs, kind), 9 * old, rtol=1e-11, atol=1e-12)
    with torch.no_grad():
        model[4].bias.add_(5.0)
    for kind, old in before.items():
        torch.testing.assert_close(kernel(model, inputs, kind), old, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ["mlp", "tiny_gpt2"])
def test_a_gradient_step_moves_the_logits_by_the_kernel(name: str) -> None:
    """Δf + ηK ∂L/∂f is of second order: halving η divides it by four."""
    model, inputs, labels = make(BY_NAME[name])
    call = (lambda: model(inputs)) if isinstance(inputs, Tensor) else (lambda: model(**inputs).logits)
    blocks = kernel(model, inputs, "entk")

    def remainder(eta: float) -> float:
        before = call()
        loss = nn.functional.cross_entropy(before, labels, reduction="sum")
        slope = torch.autograd.grad(loss, before, retain_graph=True)[0]
        grads = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        stored = [p.detach().clone() for p in model.parameters()]
        with torch.no_grad():
            for p, g in zip(model.parameters(), grads, strict=True):
                p -= 0 if g is None else eta * g
            moved = call() - before
            for p, old in zip(model.parameters(), stored, strict=True):
                p.copy_(old)
        return float((moved + eta * torch.einsum("nmcd,md->nc", blocks, slope)).norm())

    assert remainder(2e-4) / remainder(1e-4) == pytest.approx(4, rel=0.05)
