"""A tangent-kernel machine without its kernel: the same scores, differentiable, attacked inside its ball."""

import pytest
import torch

from analysis.surrogates.tangent_machine import TangentMachine
from kernels import kernel_matrix
from models import build_model
from models.gradient_attack import projected_gradient_attack


def case(activation: str = "sigmoid") -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    network = build_model("mlp", input_shape=(1, 5, 5), n_classes=3, seed=0, widths=[7, 6], activation=activation)
    train, test = (torch.rand(n, 1, 5, 5, generator=generator, dtype=torch.float64) for n in (11, 4))
    return network.double().eval(), train, test, torch.randn(3, 11, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("kind", ["pntk", "trntk"])
@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_scores_are_weights_times_kernel(kind, activation):
    network, train, test, weights = case(activation)
    offsets = torch.arange(3.0, dtype=torch.float64)
    machine = TangentMachine(network, train, weights, offsets, kind, chunk=4)
    gram = kernel_matrix(network, train, test, kind=kind, normalize=True, precision="float64").matrix
    torch.testing.assert_close(machine(test), gram @ weights.T + offsets, atol=1e-12, rtol=0)
    assert not list(machine.parameters()) and all(p.grad is None for p in network.parameters())


class Twice(torch.nn.Module):
    """A layer with two names, and a weight in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
        self.second, self.head.weight = self.first, self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.second(torch.tanh(self.first(x)))))


def test_a_network_with_two_names_for_one_layer_is_afterwards_itself():
    torch.manual_seed(0)
    network, x = Twice().double().eval(), torch.rand(5, 4, dtype=torch.float64)
    before = dict(network.named_parameters(remove_duplicate=False))
    weights, offsets = torch.rand(2, 5, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    machine = TangentMachine(network, x, weights, offsets, "trntk")
    gram = kernel_matrix(network, x, precision="float64").matrix
    torch.testing.assert_close(machine(x), gram @ weights.T, atol=1e-12, rtol=0)
    assert all(p is before[name] for name, p in network.named_parameters(remove_duplicate=False))


def test_gradient_by_the_input_agrees_with_finite_differences():
    network, train, test, weights = case()
    machine = TangentMachine(network, train, weights, torch.zeros(3, dtype=torch.float64), "trntk")
    assert torch.autograd.gradcheck(machine, (test[:2].requires_grad_(True),), atol=1e-6)


def test_unknown_kinds_and_unpaired_weights_are_refused():
    network, train, _, weights = case()
    with pytest.raises(ValueError, match="conjugate"):
        TangentMachine(network, train, weights, torch.zeros(3), "conjugate")
    with pytest.raises(ValueError, match="11 weights for 10 training points"):
        TangentMachine(network, train[:10], weights, torch.zeros(3), "pntk")


def attacked(
    radius: float, seed: int = 0, steps: int = 5, rows: int | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.nn.Module]:
    network, train, _, _ = case()
    moved = projected_gradient_attack(
        network,
        train,
        torch.arange(11) % 3,
        radius=torch.tensor(radius),
        low=torch.tensor(0.0),
        high=torch.tensor(1.0),
        steps=steps,
        generator=torch.Generator().manual_seed(seed),
        rows=rows,
    )
    return train, moved, network


def test_attacks_stay_in_their_ball_raise_the_loss_and_follow_their_seed():
    train, moved, network = attacked(0.2)
    assert (moved - train).abs().max() <= 0.2 + 1e-7 and moved.min() >= 0 and moved.max() <= 1
    labels = torch.arange(11) % 3
    losses = [torch.nn.functional.cross_entropy(network(x), labels, reduction="none") for x in (train, moved)]
    assert bool((losses[1] > losses[0]).all())
    torch.testing.assert_close(attacked(0.2)[1], moved, atol=0, rtol=0)
    torch.testing.assert_close(attacked(0.0)[1], train)
    torch.testing.assert_close(attacked(0.2, rows=4)[1], moved)  # the same start, a few at a time


def test_the_start_is_drawn_by_the_seed_of_the_attack():
    def start(seed: int) -> torch.Tensor:
        return projected_gradient_attack(
            lambda inputs: 0 * inputs[:, :2],  # flat: nothing moves the start
            torch.full((3, 4), 0.5),
            torch.zeros(3, dtype=torch.int64),
            radius=torch.tensor(0.1),
            low=torch.tensor(0.0),
            high=torch.tensor(1.0),
            steps=1,
            generator=torch.Generator().manual_seed(seed),
        )

    assert torch.equal(start(0), start(0)) and not torch.equal(start(0), start(1))


def test_impossible_attacks_are_refused():
    with pytest.raises(ValueError, match="at least one step"):
        attacked(0.1, steps=0)
    for radius in (-0.1, float("nan")):
        with pytest.raises(ValueError, match="finite and at least 0"):
            attacked(radius)
