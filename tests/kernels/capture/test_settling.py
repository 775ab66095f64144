"""Which axis holds the samples is known, whatever the number of samples happens to equal."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from kernels import fit_ekfac, kernel_matrix, layer_jacobians
from kernels.capture.capture import Capture
from kernels.inputs.outputs import bind_cotangent
from tests.kernels import batch_models as models
from tests.references import per_sample_jacobian as slow


def rows(*shape: int) -> Callable[[int], Tensor]:
    return lambda n: torch.randn(n, *shape, dtype=torch.float64)


def text(n: int) -> Tensor:
    """Texts of 4 tokens, of which 2, 1, 2 and then up to 4 are not padding."""
    length = torch.tensor([2, 1, 2, 4, 3, 4, 1, 3, 2])[:n]
    return torch.where(torch.arange(4)[None] < length[:, None], torch.randint(1, 9, (n, 4)), 0)


def full_text(n: int) -> Tensor:
    return torch.randint(0, 9, (n, 4))


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[int], Tensor]]] = {
    "arange_positions": (models.ArangePositions, full_text),
    **{f"time_first_{how}": (lambda how=how: models.TimeFirst(how), rows(4, 4)) for how in models.TimeFirst.HOW},
    "time_first_encoder": (models.TimeFirstEncoder, rows(4, 4)),
    "lstm_learned_state": (lambda: models.LearnedState(nn.LSTM, batch_first=True), rows(4, 4)),
    "gru_learned_state_time_first": (lambda: models.LearnedState(nn.GRU, batch_first=False), rows(4, 4)),
    "packed_lstm": (lambda: models.Packed(nn.LSTM, states=False), text),
    "packed_gru_states": (lambda: models.Packed(nn.GRU, states=True), text),
    "sorts_by_length": (models.SortsByLength, text),
    "until_the_longest": (models.UntilTheLongest, text),
    "hit_experts": (models.HitExperts, rows(2, 4)),
    "siamese": (models.Siamese, rows(2, 4)),
    "latents": (models.Latents, rows(3, 4)),
    "relative_table": (models.RelativeTable, rows(4, 4)),
    "chosen_weights": (models.ChosenWeights, rows(4)),
    **{how: (lambda how=how: models.OneForAll(how), rows(4)) for how in models.OneForAll.HOW},
    "heat_equation": (models.HeatEquation, rows(2)),
    "small_force": (models.SmallForce, rows(4)),
    "folded_time_first": (models.FoldedTimeFirst, rows(4, 4)),
    "unread_head": (models.UnreadHead, rows(4)),
}


def made(name: str) -> tuple[nn.Module, Tensor]:
    make, inputs = MODELS[name]
    torch.manual_seed(0)
    return make().double().eval(), inputs(9)


def gradients(capture: Capture, inputs: Tensor) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for block in capture.blocks(inputs, bind_cotangent("class", None))[1]:
        for name, value in block.gradients().items():
            found[name] = found.get(name, 0) + value.reshape(*value.shape[:2], -1)
    return found


@pytest.mark.parametrize("name", list(MODELS))
def test_a_pass_of_any_size_gives_the_gradients_of_its_samples(name: str) -> None:
    model, inputs = made(name)
    expected = slow.jacobian(model, inputs)
    capture = Capture(model, inputs[:3])
    for part in (slice(0, 4), slice(4, 9), slice(2, 3), slice(3, 5), slice(0, 3), slice(0, 9)):
        found = gradients(capture, inputs[part])
        for key, value in expected.items():
            torch.testing.assert_close(
                found.get(key, torch.zeros_like(value[part])), value[part], rtol=1e-9, atol=1e-11
            )


@pytest.mark.parametrize("name", ["arange_positions", "until_the_longest", "sorts_by_length", "heat_equation"])
@pytest.mark.parametrize("size", [None, 4, 2])
def test_a_kernel_does_not_depend_on_the_samples_per_pass(name: str, size: int | None) -> None:
    model, inputs = made(name)
    expected = slow.pntk(*[slow.flat(slow.jacobian(model, inputs))] * 2)
    found = kernel_matrix(model, inputs, kind="pntk", normalize=False, precision="float64", batch_size=size)
    torch.testing.assert_close(found.matrix, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["arange_positions", "time_first_encoder", "siamese", "folded_time_first"])
def test_rules_serve_layers_without_a_leading_axis_of_samples(name: str) -> None:
    model, inputs = made(name)
    assert not Capture(model, inputs[:3]).coverage.fallback


def test_what_a_rule_misses_is_seen_in_float32_too() -> None:
    torch.manual_seed(3)
    model, x = models.SmallForce().eval(), torch.randn(6, 4)
    found = kernel_matrix(model, x, kind="pntk", normalize=False).matrix.double()
    model = model.double()
    expected = slow.pntk(*[slow.flat(slow.jacobian(model, x.double()))] * 2)
    assert float((found - expected).abs().max() / expected.diagonal().max()) < 1e-6


def test_a_gradient_hook_on_a_parameter_changes_its_gradient() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).eval(), torch.randn(5, 4)
    plain = layer_jacobians(model, x)
    handle = model[0].weight.register_hook(lambda g: g * torch.tensor([1.0, 1.0, 0.0, 1.001]))
    hooked = layer_jacobians(model, x)
    expected = plain["0.weight"].unflatten(2, (5, 4)) * torch.tensor([1.0, 1.0, 0.0, 1.001])
    torch.testing.assert_close(hooked["0.weight"], expected.flatten(2), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(hooked["2.weight"], plain["2.weight"])
    handle.remove()
    calls: list[Tensor] = []
    model[0].weight.register_post_accumulate_grad_hook(lambda p: calls.append(p))
    torch.testing.assert_close(layer_jacobians(model, x)["0.weight"], plain["0.weight"])
    assert not calls


class Coupled(nn.Module):
    """Samples attend to one another, or units are dropped at random, a hundredth as large as a logit usually is."""

    def __init__(self, random: bool) -> None:
        super().__init__()
        self.a, self.b, self.random = nn.Linear(4, 8), nn.Linear(8, 3), random

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.a(x))
        h = nn.functional.dropout(h, 0.3, True) if self.random else torch.softmax(h @ h.T, -1) @ h
        return 0.01 * self.b(h) + 3.0


@pytest.mark.parametrize("random", [True, False], ids=["random", "attends"])
def test_coupled_samples_are_refused_however_small_the_logits(random: bool) -> None:
    torch.manual_seed(0)
    with pytest.raises(ValueError, match="depends on the other samples of its batch, or on random numbers"):
        kernel_matrix(Coupled(random).eval(), torch.randn(6, 4))


class Detour(nn.Module):
    """A layer runs a second time, on samples in another order, for large inputs only."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h, large = torch.tanh(self.inside(x)), x[:, :1] > 5
        if bool(large.any()):
            h = torch.where(large, torch.tanh(self.inside(h.flip(0)).flip(0)), h)
        return self.head(h)


def test_what_no_rule_reads_in_one_pass_takes_the_generic_route_in_that_pass() -> None:
    torch.manual_seed(0)
    model, x = Detour().double().eval(), torch.randn(7, 4, dtype=torch.float64)
    x[4, 0] = 6.0
    expected = slow.jacobian(model, x)
    found = layer_jacobians(model, x, precision="float64", batch_size=4, certify="off")
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-11)
    kernel = kernel_matrix(model, x, kind="pntk", precision="float64", normalize=False, batch_size=4, certify="off")
    torch.testing.assert_close(kernel.matrix, slow.pntk(*[slow.flat(expected)] * 2), rtol=1e-9, atol=1e-11)
    options = {"fisher": "exact", "precision": "float64", "batch_size": 4}
    with pytest.raises(RuntimeError, match="no rule reads inside.bias, inside.weight rightly.*pass fallback="):
        fit_ekfac(model, x, **options)
    assert fit_ekfac(model, x, fallback=["inside"], **options).samples == 7


class Mirrored(nn.Module):
    """The samples are turned around and back; the middle one of three stays where it is."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.inside(x.flip(0))).flip(0))


def test_samples_in_another_order_are_noticed_where_the_middle_one_stays() -> None:
    torch.manual_seed(0)
    capture = Capture(Mirrored().double().eval(), torch.randn(3, 4, dtype=torch.float64))
    assert set(capture.coverage.fallback) == {"inside.weight", "inside.bias"}
