"""Features of every model: sketches of the explicit Jacobian, stored, resumed, and refused where maps differ."""

import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from kernels.features import SKETCHES, KernelFeatures, kernel_features
from kernels.gram import kernel_matrix
from tests.kernels.cases import BY_NAME, Case, make
from tests.kernels.small_models import mlp
from tests.references import per_sample_jacobian as slow

SOME = [
    "mlp_one_output", "linear_over_grid", "frozen_all_but_biases", "conv1d_dilated", "conv2d_groups", "conv2d_circular",
    "conv_transpose2d", "tied_language_model", "used_at_two_lengths", "bare_parameters", "low_rank_adapter",
    "self_attention", "position_ids", "derived_weights", "tiny_resnet", "tiny_gpt2",
]  # fmt: skip


def explicit(case_model: nn.Module, inputs, sketch: str, dim: int, seed: int) -> torch.Tensor:
    """(N, C, k): the sketch's dense map of each parameter's explicit Jacobian, added up."""
    shapes = {name: p.shape for name, p in case_model.named_parameters()}
    total: torch.Tensor | float = 0.0
    for name, jac in slow.jacobian(case_model, inputs).items():
        n, c, p = jac.shape
        features = SKETCHES[sketch](dim, seed).dense(name, jac.reshape(n * c, p), shapes[name][1:].numel())
        total = total + features.reshape(n, c, dim)
    return total


@pytest.mark.parametrize("case", [BY_NAME[name] for name in SOME], ids=lambda case: case.name)
def test_features_are_the_sketch_of_the_explicit_jacobian(case: Case) -> None:
    model, inputs, _ = make(case)
    expected = explicit(model, inputs, "tensorsketch", 11, 5)
    found = kernel_features(model, inputs, kind="trntk", dim=11, seed=5, precision="float64", batch_size=3)
    torch.testing.assert_close(found.values, expected.flatten(1), rtol=1e-10, atol=1e-11)
    assert found.cotangents == case.classes


def test_a_callable_names_the_scalar_that_is_differentiated(tmp_path) -> None:
    model, inputs, labels = make(BY_NAME["conv2d"])
    common = {"labels": labels, "dim": 20, "precision": "float64"}

    def cross_entropy(logits, y):
        return nn.functional.cross_entropy(logits, y, reduction="none")

    expected = kernel_features(model, inputs, kind="loss_gradient", **common)
    found = kernel_features(model, inputs, kind=cross_entropy, out=tmp_path / "f.safetensors", **common)
    torch.testing.assert_close(found.values, expected.values, rtol=1e-10, atol=1e-12)
    each = kernel_features(model, inputs, kind=lambda logits, y: logits.square(), **common)
    assert each.cotangents == BY_NAME["conv2d"].classes
    with pytest.raises(ValueError, match="different maps"):
        expected.gram(found)

    first = cross_entropy

    def cross_entropy(logits, y):
        return 2.0 * first(logits, y)

    with pytest.raises(ValueError, match="cotangent"):
        kernel_features(model, inputs, kind=cross_entropy, out=tmp_path / "f.safetensors", **common)


@pytest.mark.parametrize("sketch", list(SKETCHES))
@pytest.mark.parametrize("name", ["tied_language_model", "conv2d"])
def test_every_sketch_in_every_kind(name: str, sketch: str) -> None:
    model, inputs, labels = make(BY_NAME[name])
    expected = explicit(model, inputs, sketch, 20, 0)
    with torch.no_grad():
        f = slow.logits(model, inputs)
    cotangents = {
        "pntk": torch.ones_like(f),
        "loss_gradient": slow.loss_cotangent(f, labels % f.shape[1]),
        "log_odds": slow.log_odds_cotangent(f, labels % f.shape[1]),
    }
    for kind, e in cotangents.items():
        found = kernel_features(
            model, inputs, kind=kind, sketch=sketch, dim=20, labels=labels % f.shape[1], precision="float64"
        )
        torch.testing.assert_close(found.values, torch.einsum("nc,nck->nk", e, expected), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kind", ["pntk", "trntk", "loss_gradient", "conjugate", "embedding"])
def test_whole_features_give_the_exact_kernel(kind: str) -> None:
    model, inputs, labels = make(BY_NAME["tiny_resnet"])
    features = kernel_features(model, inputs, kind=kind, sketch=None, precision="float64", labels=labels)
    exact = kernel_matrix(model, inputs, kind=kind, precision="float64", labels=labels)
    torch.testing.assert_close(features.gram(), exact.matrix, rtol=1e-10, atol=1e-12)
    assert features.about["expected_error"] == "0"


@pytest.mark.parametrize("name", ["bare_parameters", "cross_attention_packed", "tied_language_model"])
def test_whole_features_are_the_jacobian(name: str) -> None:
    """Also where a parameter is a scalar, or comes as several blocks of its rows."""
    model, inputs, _ = make(BY_NAME[name])
    found = kernel_features(model, inputs, kind="trntk", sketch=None, precision="float64", layerwise=True, batch_size=3)
    expected = slow.jacobian(model, inputs)
    for key, value in found.parts.items():
        torch.testing.assert_close(value, expected[key].flatten(1), rtol=1e-10, atol=1e-12)
    kernel = slow.trntk(slow.flat(expected), slow.flat(expected))
    torch.testing.assert_close(found.values @ found.values.T, kernel, rtol=1e-10, atol=1e-10)


def test_batches_change_nothing_but_rounding_and_loaders_are_the_same_data() -> None:
    model, inputs, _ = make(BY_NAME["conv2d_groups"], n=6)
    whole = kernel_features(model, inputs, dim=32, precision="float64")
    again = kernel_features(model, inputs, dim=32, precision="float64")
    assert torch.equal(whole.values, again.values)
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    moved = kernel_features(model, inputs[order], dim=32, precision="float64", batch_size=1)
    torch.testing.assert_close(moved.values, whole.values[order], rtol=1e-12, atol=1e-13)
    loader = DataLoader(TensorDataset(inputs), batch_size=4)
    torch.testing.assert_close(kernel_features(model, loader, dim=32, precision="float64").values, whole.values)


def test_one_map_for_train_and_test() -> None:
    model, inputs, _ = make(BY_NAME["mlp"], n=7)
    train = kernel_features(model, inputs[:4], kind="trntk", dim=40, precision="float64")
    test = kernel_features(model, inputs[4:], kind="trntk", dim=40, precision="float64")
    whole = kernel_features(model, inputs, kind="trntk", dim=40, precision="float64")
    torch.testing.assert_close(train.gram(test), whole.gram()[4:, :4], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(train.gram().diagonal(), torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize("other", [{"seed": 1}, {"dim": 41}, {"sketch": "countsketch"}, {"kind": "trntk"}])
def test_features_of_different_maps_are_refused(other: dict) -> None:
    model, inputs, _ = make(BY_NAME["mlp"])
    train = kernel_features(model, inputs, **({"dim": 40, "precision": "float64"}))
    test = kernel_features(model, inputs, **({"dim": 40, "precision": "float64"} | other))
    with pytest.raises(ValueError, match=next(iter(other))):
        train.gram(test)


def test_error_is_the_expected_one() -> None:
    """Wide random networks on orthogonal inputs have nearly orthogonal class gradients."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = mlp(64, 96, 96, 5).eval()
    inputs = torch.linalg.qr(torch.randn(64, 40, generator=torch.Generator().manual_seed(1)))[0].T.contiguous() * 8
    exact = kernel_matrix(model, inputs, kind="trntk").matrix
    off = ~torch.eye(40, dtype=torch.bool)
    for sketch in SKETCHES:
        errors, claimed = [], 0.0
        for seed in range(2):
            features = kernel_features(model, inputs, kind="trntk", sketch=sketch, dim=256, seed=seed)
            errors.append((features.gram() - exact)[off].abs().mean())
            claimed = float(features.about["expected_error"])
        found = float(torch.stack(errors).mean())
        assert found < 1.15 * claimed, sketch
        assert found > 0.4 * claimed, sketch


def test_layerwise_features_add_up() -> None:
    model, inputs, _ = make(BY_NAME["tied_language_model"])
    features = kernel_features(model, inputs, dim=30, precision="float64", layerwise=True)
    assert set(features.parts) == {name for name, _ in model.named_parameters()}
    torch.testing.assert_close(sum(features.parts.values()), features.values, rtol=1e-10, atol=1e-12)
    whole = kernel_features(model, inputs, sketch=None, precision="float64", layerwise=True)
    jac = slow.jacobian(model, inputs)
    for name, values in whole.parts.items():
        torch.testing.assert_close(values, jac[name].sum(1), rtol=1e-10, atol=1e-12)


class Killed(RuntimeError):
    pass


def test_a_killed_run_continues_to_the_same_bytes(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs, _ = make(BY_NAME["conv2d"], n=7)
    inputs = inputs.float()
    model = model.float()
    plain = tmp_path / "plain.safetensors"
    whole = kernel_features(model, inputs, kind="trntk", dim=16, out=plain, batch_size=2)
    from kernels.sketches.base import Sketch

    calls = {"left": 6}
    block = Sketch.block

    def dying(self, one):
        calls["left"] -= 1
        if calls["left"] < 0:
            raise Killed
        return block(self, one)

    resumed = tmp_path / "resumed.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr(Sketch, "block", dying)
        with pytest.raises(Killed):
            kernel_features(model, inputs, kind="trntk", dim=16, out=resumed, batch_size=2)
        assert not resumed.exists() and resumed.with_name("resumed.safetensors.ledger").exists()
    done = resumed.with_name("resumed.safetensors.ledger").read_text().count("tile")
    assert 1 <= done < 4
    # Another batch size is requested: the interrupted run's is kept, so the bytes are the same.
    again = kernel_features(model, inputs, kind="trntk", dim=16, out=resumed, batch_size=3)
    assert resumed.read_bytes() == plain.read_bytes()
    assert torch.equal(again.values, whole.values) and again.about == whole.about
    assert sorted(p.name for p in tmp_path.iterdir()) == ["plain.safetensors", "resumed.safetensors"]
    with monkeypatch.context() as patch:
        patch.setattr(Sketch, "block", lambda *_: pytest.fail("a finished file was computed again"))
        patch.setattr("kernels.features._fill", lambda *_: pytest.fail("a finished file was computed again"))
        patch.setattr(Sketch, "block", block)
        kernel_features(model, inputs, kind="trntk", dim=16, out=plain)


@pytest.mark.parametrize("change", ["weights", "data", "seed", "activation"])
def test_a_file_of_other_weights_data_or_seed_is_refused(change: str, tmp_path) -> None:
    model, inputs, _ = make(BY_NAME["mlp"])
    out = tmp_path / "features.safetensors"
    kernel_features(model, inputs, dim=16, precision="float64", out=out)
    if change == "weights":
        with torch.no_grad():
            next(model.parameters()).add_(1e-3)
    if change == "activation":
        model[1] = nn.ReLU()
    moved = inputs + 1 if change == "data" else inputs
    with pytest.raises(ValueError, match="belongs to another"):
        kernel_features(model, moved, dim=16, precision="float64", out=out, seed=int(change == "seed"))


def test_a_file_of_other_conjugate_features_is_refused(tmp_path) -> None:
    model, inputs, _ = make(BY_NAME["mlp"])
    options = {"kind": "conjugate", "sketch": None, "precision": "float64", "out": tmp_path / "features.safetensors"}
    kernel_features(model, inputs, **options)
    for other in ({"append_one": True}, {"output_layer": "2"}):
        with pytest.raises(ValueError, match="layer: "):
            kernel_features(model, inputs, **options, **other)


def test_bad_input_is_named() -> None:
    model, inputs, _ = make(BY_NAME["mlp"])
    size = sum(p.numel() for p in model.parameters())
    options = {"precision": "float64"}
    with pytest.raises(ValueError, match="at least one dimension, got dim=0"):
        kernel_features(model, inputs, dim=0, **options)
    with pytest.raises(ValueError, match=f"dim={size + 1} exceeds the {size} parameters"):
        kernel_features(model, inputs, dim=size + 1, **options)
    assert kernel_features(model, inputs, dim=size, **options).values.shape == (4, size)
    with pytest.raises(ValueError, match="needs dim="):
        kernel_features(model, inputs, **options)
    with pytest.raises(ValueError, match="no meaning"):
        kernel_features(model, inputs, sketch=None, dim=5, **options)
    with pytest.raises(ValueError, match="unknown sketch 'gauss'"):
        kernel_features(model, inputs, sketch="gauss", dim=5, **options)
    with pytest.raises(ValueError, match="unknown kind 'pNTK0'"):
        kernel_features(model, inputs, kind="pNTK0", dim=5, **options)
    with pytest.raises(ValueError, match="needs labels"):
        kernel_features(model, inputs, kind="log_odds", dim=5, **options)
    with pytest.raises(ValueError, match="batch_size=0"):
        kernel_features(model, inputs, dim=5, batch_size=0, **options)
    with pytest.raises(ValueError, match="sample 2"):
        kernel_features(model, inputs.index_fill(0, torch.tensor(2), math.nan), dim=5, **options)
    still = torch.cat([inputs, inputs]).index_fill(0, torch.tensor(5), 0.0)
    with pytest.raises(ValueError, match="features of sample 5 are not finite"):
        kernel_features(nn.Sequential(nn.Linear(6, 3, bias=False), Root()).double(), still, dim=5, **options)


class Root(nn.Module):
    """Infinitely steep at zero."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.abs().sqrt()


def test_zero_features_get_a_row_of_zeros() -> None:
    features = KernelFeatures(torch.tensor([[1.0, 2.0], [0.0, 0.0]]), 1, {})
    assert torch.equal(features.gram(), torch.tensor([[1.0, 0.0], [0.0, 0.0]]))


@pytest.mark.parametrize("kind", ["pntk", "trntk", "conjugate", "embedding"])
def test_feature_kernels_do_not_read_labels(kind: str) -> None:
    model, inputs, _ = make(BY_NAME["mlp"])
    kernels = [
        kernel_matrix(
            model, DataLoader(TensorDataset(inputs, labels), batch_size=3), kind=kind, precision="float64"
        ).matrix
        for labels in (torch.zeros(len(inputs), dtype=torch.long), torch.arange(len(inputs)) % 2)
    ]
    torch.testing.assert_close(kernels[0], kernels[1], rtol=0, atol=0)
