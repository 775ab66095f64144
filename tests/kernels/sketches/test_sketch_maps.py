"""Sketches are fixed linear maps: unbiased, with the tabled variance, the same in every form and for every batch."""

import math

import pytest
import torch

from kernels.gradients.blocks import ConvBlock, OuterBlock, TiedBlock, TokenBlock, VectorBlock
from kernels.gradients.windows import Windows
from kernels.machine.counter_hash import buckets_and_signs, sign_matrix, stream_key, words
from kernels.sketches.base import Sketch
from kernels.sketches.countsketch import CountSketch
from kernels.sketches.rademacher import Rademacher
from kernels.sketches.tensorsketch import TensorSketch

KINDS: list[type[Sketch]] = [TensorSketch, CountSketch, Rademacher]
MASK = (1 << 64) - 1
PINNED = ([449, 392, 117, 595, 512, 868], [1.0, 1.0, -1.0, 1.0, -1.0, 1.0])


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def splitmix(x: int) -> int:
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def blocks() -> dict[str, OuterBlock | TokenBlock | VectorBlock | TiedBlock]:
    """One block of every sort: 3 samples, 2 cotangents."""
    table = torch.Size((7, 6))
    ids = torch.randint(0, 7, (3, 5), generator=torch.Generator().manual_seed(1))
    ids[0, 3:] = -1
    received = normal(3, 2, 5, 6, seed=2) * (ids >= 0)[:, None, :, None]
    token = TokenBlock("table", table, ids, received)
    head = OuterBlock("table", table, normal(3, 2, 4, 7, seed=3), normal(3, 4, 6, seed=4))
    return {
        "linear": OuterBlock(
            "w", torch.Size((8, 6)), normal(3, 2, 1, 8), normal(3, 1, 6), bias="b", bias_shape=torch.Size((8,)),
        ),  # fmt: skip
        "positions": OuterBlock("w", torch.Size((8, 6)), normal(3, 2, 5, 8), normal(3, 5, 6)),
        "transposed": OuterBlock("w", torch.Size((6, 8)), normal(3, 2, 5, 8), normal(3, 5, 6), transposed=True),
        "groups": OuterBlock("w", torch.Size((8, 3)), normal(3, 2, 5, 8), normal(3, 5, 6), groups=2),
        "groups_transposed": OuterBlock(
            "w", torch.Size((6, 4)), normal(3, 2, 5, 8), normal(3, 5, 6), groups=2, transposed=True
        ),
        "packed_rows": OuterBlock(
            "w", torch.Size((12, 6)), normal(3, 2, 5, 4), normal(3, 5, 6), rows=(4, 8),
            bias="b", bias_shape=torch.Size((12,)), bias_rows=(4, 8),
        ),  # fmt: skip
        "convolution": ConvBlock(
            "w", torch.Size((4, 2, 3, 3)), normal(3, 2, 4, 4), normal(3, 2, 5, 5),
            windows=Windows((3, 3), (2, 2), (1, 1), (0, 0), (2, 2)),
        ),  # fmt: skip
        "token": token,
        "vector": VectorBlock("g", torch.Size((9,)), normal(3, 2, 9)),
        "scalar": VectorBlock("g", torch.Size(()), normal(3, 2, 1)),
        "matrix_by_fallback": VectorBlock("w", torch.Size((4, 3)), normal(3, 2, 12), origin="fallback"),
        "tied": TiedBlock("table", table, (token, head)),
    }  # fmt: skip


def plainly(sketch: Sketch, block) -> torch.Tensor:
    """Features of the formed gradients, one parameter after the other."""
    total = torch.zeros(3, 2, sketch.dim, dtype=torch.float64)
    for name, gradient in block.gradients().items():
        columns = gradient.shape[3:].numel()
        total += sketch.dense(name, gradient.reshape(6, -1), columns).reshape(3, 2, -1)
    return total


def test_hash_is_splitmix_in_exact_integers() -> None:
    key = stream_key(5, "layer.weight/rows")
    found = words(key, torch.tensor([0, 1, 12345, 2**40]))
    for counter, word in zip([0, 1, 12345, 2**40], found.tolist(), strict=True):
        first = splitmix((counter * 0x9E3779B97F4A7C15 + key) & MASK)
        assert word & MASK == splitmix((first + (key ^ 0x9E3779B97F4A7C15)) & MASK)


def test_hash_values_are_pinned_to_the_version() -> None:
    bucket, sign = buckets_and_signs(0, "weight/rows", torch.arange(6), 1000, dtype=torch.float32)
    assert (bucket.tolist(), sign.tolist()) == PINNED


def test_buckets_and_signs_are_uniform() -> None:
    bucket, sign = buckets_and_signs(3, "w", torch.arange(200_000), 100, dtype=torch.float64)
    counts = torch.bincount(bucket, minlength=100).double()
    assert ((counts - 2000) ** 2 / 2000).sum() < 99 + 5 * math.sqrt(2 * 99)
    assert abs(sign.mean()) < 5 / math.sqrt(200_000)
    signs = sign_matrix(3, "w", torch.arange(2000), 130, dtype=torch.float64)
    assert signs.shape == (2000, 130) and signs.abs().eq(1).all()
    assert (signs.T @ signs / 2000 - torch.eye(130)).abs().max() < 6 / math.sqrt(2000)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", blocks())
def test_every_block_gives_the_features_of_its_formed_gradient(kind: type[Sketch], name: str) -> None:
    sketch, block = kind(40, 3), blocks()[name]
    torch.testing.assert_close(sketch.block(block), plainly(sketch, block), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "name", ["linear", "positions", "transposed", "groups", "groups_transposed", "packed_rows", "convolution"]
)
@pytest.mark.parametrize("dim", [1, 37])
def test_fourier_form_is_the_same_map_as_the_formed_gradient(name: str, dim: int) -> None:
    block = blocks()[name]
    fourier, formed = TensorSketch(dim, 1, "fourier"), TensorSketch(dim, 1, "gradient")
    torch.testing.assert_close(fourier.block(block), formed.block(block), rtol=1e-10, atol=1e-12)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    block = blocks()["groups"]
    for kind in KINDS:
        whole = kind(16, 0).block(block)
        for module in ("base", "countsketch", "tensorsketch", "rademacher"):
            monkeypatch.setattr(f"kernels.sketches.{module}.CHUNK_BYTES", 1)
        torch.testing.assert_close(kind(16, 0).block(block), whole, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(TensorSketch(16, 0, "fourier").block(block), TensorSketch(16, 0).block(block))
        monkeypatch.undo()


@pytest.mark.parametrize("kind", KINDS)
def test_batches_and_order_change_nothing(kind: type[Sketch]) -> None:
    for block in blocks().values():
        whole = kind(24, 7).block(block)
        again = kind(24, 7)
        alone = torch.cat([again.block(block.take(slice(i, i + 1))) for i in (2, 0, 1)])
        torch.testing.assert_close(alone, whole[[2, 0, 1]], rtol=1e-12, atol=1e-12)
        assert torch.equal(kind(24, 7).block(block), whole)


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_and_parameters_have_their_own_maps(kind: type[Sketch]) -> None:
    gradient = normal(2, 12)
    first = kind(50, 0).dense("a", gradient, 3)
    assert not torch.allclose(first, kind(50, 1).dense("a", gradient, 3))
    assert not torch.allclose(first, kind(50, 0).dense("b", gradient, 3))
    assert not torch.allclose(first, kind(50, 0).dense("a", gradient, 3, first_row=4))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("columns", [1, 4])
def test_unbiased_without_rescaling(kind: type[Sketch], columns: int) -> None:
    seeds, eye = 300, torch.eye(12, dtype=torch.float64)
    gram = torch.zeros_like(eye)
    for seed in range(seeds):
        features = kind(8, seed).dense("w", eye, columns)
        gram += features @ features.T
    # Off-diagonal entries have variance 1/8 per seed (up to 2/8 for coordinates of one row or column).
    assert (gram / seeds - eye).abs().max() < 5 * math.sqrt(2 / 8 / seeds)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rho", [(0.0, 0.0), (0.0, 1.0), (0.7, 0.5)])
def test_variance_is_the_tabled_one(kind: type[Sketch], rho: tuple[float, float]) -> None:
    """Relative to ‖u‖²‖v‖²/dim, over 60 pairs of rank-one 24 × 30 gradients and 40 seeds."""

    def factors(size: int, cosine: float, seed: int) -> torch.Tensor:
        first, second = torch.linalg.qr(normal(60, size, 2, seed=seed))[0].unbind(2)
        return torch.stack([first, cosine * first + math.sqrt(1 - cosine**2) * second], 1).flatten(0, 1)

    block = OuterBlock(
        "w", torch.Size((24, 30)), factors(24, rho[0], 1)[:, None, None], factors(30, rho[1], 2)[:, None]
    )
    gradient = block.gradients()["w"].reshape(60, 2, -1)
    u, v = gradient.unbind(1)
    seeds, dim = 40, 64
    errors = []
    for seed in range(seeds):
        x, y = kind(dim, seed).block(block).reshape(60, 2, dim).unbind(1)
        errors.append((x * y).sum(1) - (u * v).sum(1))
    found = dim * (torch.stack(errors) ** 2).mean()
    r2 = (rho[0] * rho[1]) ** 2
    expected = {
        "tensorsketch": 1 + rho[0] ** 2 + rho[1] ** 2 + 3 * r2,
        "countsketch": 1 + r2 - 2 * float((u**2 * v**2).sum(1).mean()),
        "rademacher": 1 + r2 - 2 * float((u**2 * v**2).sum(1).mean()),
    }[kind.kind]
    assert found == pytest.approx(expected, rel=0.2)


@pytest.mark.parametrize("kind", KINDS)
def test_error_halves_at_four_times_the_dimension(kind: type[Sketch]) -> None:
    gradient = torch.nn.functional.normalize(normal(40, 30 * 20))
    exact = gradient @ gradient.T

    def error(dim: int) -> float:
        off = ~torch.eye(40, dtype=torch.bool)
        errors = []
        for seed in range(12):
            features = torch.nn.functional.normalize(kind(dim, seed).dense("w", gradient, 20))
            errors.append((features @ features.T - exact)[off].abs().mean())
        return float(torch.stack(errors).mean())

    small, large = error(64), error(256)
    assert small / large == pytest.approx(2, rel=0.15)
    assert large == pytest.approx(Rademacher(256, 0).expected_error(), rel=0.2)
    assert large < TensorSketch(256, 0).expected_error()


def test_expected_error_is_the_published_residual_at_dimension_10240() -> None:
    assert Rademacher(10_240, 0).expected_error(classes=10) == pytest.approx(0.00249, abs=1e-5)
    assert CountSketch(10_240, 0).expected_error(classes=2) == pytest.approx(0.00558, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", [0, -3])
def test_dimension_below_one_is_refused(kind: type[Sketch], dim: int) -> None:
    with pytest.raises(ValueError, match="at least one dimension"):
        kind(dim, 0)
