"""Passes are held against the network's own gradient: what no rule reads rightly never becomes a number unseen."""

import json
import math
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

from kernels import (
    fisher_blocks,
    fit_ekfac,
    influence_scores,
    kernel_features,
    kernel_matrix,
    layer_factors,
    layer_jacobians,
    plan_kernel,
    verify,
)
from kernels.capture.capture import Capture
from kernels.capture.certificate import Certifier
from kernels.capture.checked_passes import LARGE, samples_checked, samples_of_first
from kernels.capture.pass_under_check import PassUnderCheck
from kernels.capture.summary import ceiling
from kernels.gradients.blocks import VectorBlock
from kernels.gradients.dressed import dressed
from kernels.gradients.weighted_sum import agreements
from kernels.inputs.outputs import bind_cotangent
from kernels.inputs.samples import Place
from kernels.rules.linear import LINEAR
from kernels.rules.table import RULES
from tests.kernels.cases import BY_NAME, make
from tests.references import per_sample_jacobian as slow

WIDE = {"precision": "float64"}
PLAIN = {**WIDE, "kind": "pntk", "normalize": False}


def network() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double().eval()
    return model, torch.randn(9, 4).double()


def true_kernel(model: nn.Module, inputs: Tensor) -> Tensor:
    rows = torch.cat([values.sum(1) for values in slow.jacobian(model, inputs).values()], 1)
    return rows @ rows.T


def plant(monkeypatch: pytest.MonkeyPatch, factor: float = 1.01) -> None:
    """Make the rule of linear layers wrong in passes that hold more samples than those on which it is settled."""

    def build(use, kept):
        return LINEAR.build(use, kept * factor if use.batch > 6 else kept)

    monkeypatch.setitem(RULES, F.linear, replace(LINEAR, build=build))


def off_by(found: Tensor, true: Tensor) -> float:
    return float((found - true).abs().max() / true.abs().max())


@pytest.mark.parametrize("certify", ["off", "sampled", "every"])
def test_a_rule_that_is_wrong_in_later_passes_gives_no_wrong_kernel(certify: str, monkeypatch) -> None:
    model, inputs = network()
    true = true_kernel(model, inputs)
    plant(monkeypatch)
    if certify == "off":
        assert off_by(kernel_matrix(model, inputs, certify=certify, **PLAIN).matrix, true) > 1e-3
        return
    with pytest.warns(UserWarning, match=r"0.weight.* for train samples 0 to 9 differ from the network's own gradient"):
        found = kernel_matrix(model, inputs, certify=certify, **PLAIN)
    assert off_by(found.matrix, true) < 1e-12
    assert set(found.metadata["plan"].generic) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert "disagreed" in found.metadata["coverage"]["fallback"]["0.weight"]


def test_a_kernel_in_a_file_starts_again_too_and_a_killed_one_resumes(tmp_path: Path, monkeypatch) -> None:
    model, inputs = network()
    true = true_kernel(model, inputs)
    plant(monkeypatch)
    out = tmp_path / "k.safetensors"
    with pytest.warns(UserWarning, match="starts again"):
        found = kernel_matrix(model, inputs, out=out, **PLAIN)
    assert off_by(found.matrix, true) < 1e-12
    assert [path.name for path in tmp_path.iterdir()] == ["k.safetensors"]


def test_features_jacobians_and_fisher_blocks_take_the_generic_route_for_that_pass(monkeypatch) -> None:
    model, inputs = network()
    right = {
        "features": kernel_features(model, inputs, dim=12, **WIDE).values,
        "jacobian": layer_jacobians(model, inputs, **WIDE)["0.weight"],
        "fisher": fisher_blocks(model, inputs, **WIDE)["2.weight"].matrix,
    }
    plant(monkeypatch)
    wrong = layer_jacobians(model, inputs, certify="off", **WIDE)["0.weight"]
    assert off_by(wrong, right["jacobian"]) > 1e-3
    assert off_by(kernel_features(model, inputs, dim=12, certify="off", **WIDE).values, right["features"]) > 1e-3
    found = kernel_features(model, inputs, dim=12, **WIDE)
    assert off_by(found.values, right["features"]) < 1e-12
    assert "0.weight" in found.metadata["certificate"]["generic"]
    assert off_by(layer_jacobians(model, inputs, **WIDE)["0.weight"], right["jacobian"]) < 1e-12
    assert off_by(fisher_blocks(model, inputs, **WIDE)["2.weight"].matrix, right["fisher"]) < 1e-12


def test_influence_is_right_and_ekfac_refuses_factors_that_are_none(monkeypatch) -> None:
    model, inputs = network()
    labels = torch.arange(9) % 3
    fisher = fit_ekfac(model, inputs, fisher="exact", **WIDE)
    options = {"labels": labels, "test_labels": labels, **WIDE}
    right = influence_scores(model, fisher, inputs, inputs, **options)
    plant(monkeypatch)
    assert off_by(influence_scores(model, fisher, inputs, inputs, certify="off", **options), right) > 1e-3
    assert off_by(influence_scores(model, fisher, inputs, inputs, **options), right) < 1e-11
    with pytest.raises(RuntimeError, match=r"0.weight.* in samples 0 to 9.* pass fallback=\["):
        fit_ekfac(model, inputs, fisher="exact", **WIDE)


class Kinked(nn.Module):
    """Scales the gradient of its first layer for the sample marked by its last input, when that is alone."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.a, self.b, self.factor = nn.Linear(3, 5), nn.Linear(5, 3), factor

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.a(x[:, :3]))
        marked = (x[:, -1:] > 5) & (len(x) == 1)
        return self.b(torch.where(marked, h * self.factor + (h * (1 - self.factor)).detach(), h))


def whole_batches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Places where a whole batch is held against the network from now on."""
    seen: list[str] = []
    together = Certifier._together

    def counted(self, one):
        seen.append(one.place)
        return together(self, one)

    monkeypatch.setattr(Certifier, "_together", counted)
    monkeypatch.setattr("kernels.capture.certificate.CHEAP", 0)
    return seen


def first_drawn(stop: int, start: int = 0) -> int:
    generator = samples_checked("sampled", Place.of(slice(start, stop), "train"), stop - start, 0)[1]
    return start + int(torch.randperm(stop - start, generator=generator)[0])


@pytest.mark.parametrize(("factor", "whole"), [(1.01, False), (1.2, True)], ids=["a unit's share", "more"])
def test_one_sample_that_differs_a_little_alone_does_not_call_for_the_whole_batch(
    factor: float, whole: bool, monkeypatch
) -> None:
    torch.manual_seed(0)
    # Not one of those on which rules are settled: the first, the middle and the last of the first few.
    count = next(n for n in range(20, 60) if 4 < first_drawn(n) < n // 2 - 2)
    inputs = torch.randn(count, 4)
    inputs[first_drawn(count), -1] = 6.0
    seen, alone = whole_batches(monkeypatch), []
    by_themselves = Capture.by_themselves
    monkeypatch.setattr(Capture, "by_themselves", lambda *args: alone.append(1) or by_themselves(*args))
    kernel = kernel_matrix(Kinked(factor).eval(), inputs, kind="pntk", normalize=False)
    assert bool(seen) == whole and bool(alone) != whole
    assert kernel.metadata["certificate"]["largest_difference"] <= 1e-4


def test_samples_share_a_comparison_and_one_that_was_right_clears_another_of_a_later_pass(monkeypatch) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(40, 4)
    inputs[first_drawn(40, 20), -1] = 6.0
    seen, alone = whole_batches(monkeypatch), []
    by_the_network = PassUnderCheck.by_the_network

    def counted(self, parts, *args):
        alone.append([len(part) for part in parts])
        return by_the_network(self, parts, *args)

    monkeypatch.setattr(PassUnderCheck, "by_the_network", counted)
    kernel_matrix(Kinked(1.01).eval(), inputs, kind="pntk", normalize=False, batch_size=20)
    assert not seen and alone == [[1, 1], [1]]


def test_every_sample_that_differs_a_little_calls_for_the_whole_batch(monkeypatch) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).eval()
    inputs = torch.randn(20, 4)
    true = true_kernel(model, inputs)
    plant(monkeypatch, 1.001)
    seen = whole_batches(monkeypatch)
    with pytest.warns(UserWarning, match="starts again"):
        found = kernel_matrix(model, inputs, kind="pntk", normalize=False)
    assert seen and off_by(found.matrix, true) < 1e-5


@pytest.mark.parametrize("certify", ["sampled", "every"])
def test_two_samples_in_each_others_place_are_seen(certify: str, monkeypatch) -> None:
    model, _ = network()
    inputs = torch.randn(40, 4).double()
    true = true_kernel(model, inputs)

    def build(use, kept):
        order = torch.arange(use.batch)
        if use.batch > 6:
            order[[11, 30]] = order[[30, 11]]
        return LINEAR.build(use, kept[order])

    monkeypatch.setitem(RULES, F.linear, replace(LINEAR, build=build))
    with pytest.warns(UserWarning, match="starts again"):
        found = kernel_matrix(model, inputs, certify=certify, **PLAIN)
    assert off_by(found.matrix, true) < 1e-12


class Coupled(nn.Module):
    """Samples depend on each other in batches of more than six, by a small amount."""

    def __init__(self, share: float, *, through_gradients: bool) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 3)
        self.share, self.through_gradients = share, through_gradients

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.a(x))
        if len(x) > 6:
            mean = h.mean(0) if self.through_gradients else h.mean(0).detach()
            h = h + self.share * mean
        return self.b(h)


@pytest.mark.parametrize("through_gradients", [True, False])
@pytest.mark.parametrize("certify", ["sampled", "every"])
def test_samples_that_depend_on_each_other_are_refused(certify: str, through_gradients: bool) -> None:
    torch.manual_seed(1)
    model = Coupled(1e-4, through_gradients=through_gradients).double().eval()
    with pytest.raises(ValueError, match="depends on the other samples of its batch.* in train samples 0 to 9"):
        kernel_matrix(model, torch.randn(9, 4).double(), certify=certify, **PLAIN)


def test_a_hook_on_a_parameter_is_part_of_the_networks_gradient() -> None:
    model, inputs = network()
    model[0].weight.register_hook(lambda gradient: 3 * gradient)
    true = true_kernel(model, inputs)
    with warnings.catch_warnings(action="ignore"):  # whether a rule or this pass finds it out
        assert off_by(kernel_matrix(model, inputs, **PLAIN).matrix, true) < 1e-12


def test_a_hook_that_clips_has_no_per_sample_gradients(monkeypatch) -> None:
    model, inputs = network()
    model[0].weight.register_hook(lambda gradient: gradient.clamp(-1e-2, 1e-2))
    with (
        warnings.catch_warnings(action="ignore"),
        pytest.raises(ValueError, match="a hook changes gradients other than linearly"),
    ):
        kernel_matrix(model, inputs, **PLAIN)


def test_kernel_bytes_are_the_same_with_every_certificate(tmp_path: Path) -> None:
    for name in ("tiny_gpt2", "tiny_resnet"):
        model, inputs, _ = make(BY_NAME[name], 9)
        model = model.float()
        moved = inputs.float() if isinstance(inputs, Tensor) else inputs
        found = [kernel_matrix(model, moved, kind="trntk", certify=mode).matrix for mode in ("off", "sampled", "every")]
        assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_the_certificate_is_kept_with_the_result_the_file_the_plan_and_the_verification(tmp_path: Path) -> None:
    model, inputs = network()
    out = tmp_path / "k.safetensors"
    found = kernel_matrix(model, inputs, out=out, certify="every", block_rows=3, **PLAIN).metadata["certificate"]
    assert found == {
        "certify": "every",
        "passes": 3,
        "passes_checked": 3,
        "patterns_checked": 1,
        "parameters": 4,
        "largest_difference": found["largest_difference"],
        "generic": [],
    }
    assert 0 < found["largest_difference"] < 1e-12
    with safe_open(str(out), "pt") as file:
        assert json.loads(file.metadata()["certificate"]) == found
    assert kernel_matrix(model, inputs, out=out, block_rows=3, **PLAIN).metadata["certificate"] == found
    assert "certificate: a few samples" in str(plan_kernel(model, inputs, **PLAIN))
    assert "4 parameters each, agree with the network's own gradient" in str(verify(model, inputs))
    off = kernel_matrix(model, inputs, certify="off", **PLAIN).metadata["certificate"]
    assert off["passes"] == 0 and off["largest_difference"] == 0
    assert kernel_matrix(model, inputs, kind="conjugate", **WIDE).metadata["certificate"] == {}


def test_small_passes_are_left_out_now_and_then_and_large_ones_never() -> None:
    model, _ = network()
    inputs = torch.randn(64, 4).double()
    small = kernel_matrix(model, inputs, batch_size=1, **PLAIN).metadata["certificate"]
    large = kernel_matrix(model, inputs, batch_size=16, **PLAIN).metadata["certificate"]
    assert small["passes"] == 64 and 0 < small["passes_checked"] < 32 and small["patterns_checked"] == 1
    assert large["passes"] == large["passes_checked"] == 4


def test_of_a_large_network_single_samples_of_first_and_of_some_later_passes_are_checked(monkeypatch) -> None:
    monkeypatch.setattr("kernels.capture.checked_passes.LARGE", 10)
    alone = []
    by_the_network = PassUnderCheck.by_the_network

    def counted(self, parts, *args):
        alone.append((self.place, [len(part) for part in parts or []]))
        return by_the_network(self, parts, *args)

    monkeypatch.setattr(PassUnderCheck, "by_the_network", counted)
    monkeypatch.setattr("kernels.capture.certificate.CHEAP", 0)
    model, _ = network()
    inputs = torch.randn(160, 4).double()
    plan = plan_kernel(model, inputs, batch_size=16, **PLAIN)
    alone.clear()
    found = kernel_matrix(model, inputs, batch_size=16, **PLAIN).metadata["certificate"]
    places = [Place.of(slice(start, start + 16), "train") for start in range(0, 160, 16)]
    drawn = [place for place in places if samples_checked("sampled", place, 16, 11)[0]]
    assert alone == [(place.words, [1]) for place in drawn] and places[0] in drawn and 1 < len(drawn) < 7
    assert plan.certified == (len(drawn), 10, 4) == (found["passes_checked"], found["passes"], found["parameters"])
    assert found["patterns_checked"] == 1
    every = kernel_matrix(model, inputs, batch_size=16, certify="every", **PLAIN).metadata["certificate"]
    assert every["passes_checked"] == every["passes"] == 10


def test_passes_of_large_networks_are_drawn_in_proportion_to_their_samples() -> None:
    def share(batch: int, numbers: int) -> float:
        places = [Place.of(slice(start, start + batch), "train") for start in range(0, 400 * batch, batch)]
        return sum(samples_checked("sampled", place, batch, numbers)[0] for place in places) / 400

    assert share(32, LARGE) == 1.0 and abs(share(32, LARGE + 1) - 0.5) < 0.1 and abs(share(8, LARGE + 1) - 0.125) < 0.06
    assert share(64, LARGE + 1) == 1.0 and share(128, LARGE + 1) == 2.0
    assert (samples_of_first(9, LARGE), samples_of_first(99, LARGE), samples_of_first(9, LARGE + 1)) == (4, 2, 1)


def test_a_rule_that_is_wrong_in_larger_passes_of_a_large_network_gives_no_wrong_kernel(monkeypatch) -> None:
    monkeypatch.setattr("kernels.capture.checked_passes.LARGE", 10)
    monkeypatch.setattr("kernels.capture.certificate.CHEAP", 0)
    model, inputs = network()
    true = true_kernel(model, inputs)
    plant(monkeypatch)
    with pytest.warns(UserWarning, match="starts again"):
        assert off_by(kernel_matrix(model, inputs, **PLAIN).matrix, true) < 1e-12


@pytest.mark.parametrize("name", ["tied_language_model", "conv2d_groups", "conv_transpose2d", "lookups", "gru"])
def test_sums_from_factors_are_the_networks_gradient(name: str) -> None:
    model, inputs, _ = make(BY_NAME[name], 9)
    certifier = Certifier("every", at=Place("nine samples"))
    capture = Capture(model, slow.rows(inputs, slice(0, 3)), certifier=certifier)
    _, blocks = capture.blocks(inputs, bind_cotangent("class", None))
    assert 0 < certifier.passes["nine samples"] < 1e-12 and not certifier.generic
    for block in blocks:
        gradients = {key: value.flatten(2) for key, value in block.gradients().items()}
        again = dressed(block, gradients)
        assert again.names == block.names
        for key, value in again.gradients().items():
            torch.testing.assert_close(value.flatten(2), gradients[key], rtol=1e-10, atol=1e-12)


def test_factors_say_what_was_checked_so_far() -> None:
    model, inputs = network()
    parts = list(layer_factors(model, inputs, batch_size=8, **WIDE))
    assert [part.certificate["passes"] for part in parts] == [1, 2]


@pytest.mark.parametrize(
    ("value", "expected"), [(3e-7, 1e-6), (1e-9, 1e-9), (0.2, 1.0)], ids=["between", "power", "large"]
)
def test_differences_are_reported_as_powers_of_ten(value: float, expected: float) -> None:
    assert ceiling(value) == expected


class NormedInFloat32(nn.Module):
    """Computes in float32 inside, whatever the type of its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x).float()
        return self.b((h * h.square().mean(1, keepdim=True).add(1e-6).rsqrt()).to(x.dtype))


def test_float64_is_held_to_its_own_digits_unless_the_network_has_fewer_inside(monkeypatch) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(9, 4).double()
    narrow = kernel_matrix(NormedInFloat32().double().eval(), inputs, certify="every", **PLAIN)
    assert 1e-13 < narrow.metadata["certificate"]["largest_difference"] < 1e-4
    assert not narrow.metadata["plan"].generic
    model, _ = network()
    plant(monkeypatch, 1 + 1e-7)
    with pytest.warns(UserWarning, match="starts again"):
        assert kernel_matrix(model, inputs, **PLAIN).metadata["plan"].generic


def test_an_own_gradient_that_is_not_finite_never_passes_for_the_numbers_of_a_rule() -> None:
    own = {"w": torch.full((2,), torch.nan)}
    block = VectorBlock("w", torch.Size([2]), torch.ones(3, 1, 2))
    found = agreements([block], torch.arange(3), torch.ones(3, 1), own)["w"]
    assert found.error == torch.inf
    block = VectorBlock("w", torch.Size([2]), torch.full((3, 1, 2), torch.nan))
    assert math.isnan(agreements([block], torch.arange(3), torch.ones(3, 1), own)["w"].error)
