"""SOURCE converges to the exact derivative of training where its assumptions hold, with the number of segments."""

import numpy as np
import pytest
import torch
from torch import nn

from analysis.attribution.optimizer_steps import OptimizerRule
from analysis.attribution.replay import Replay
from analysis.attribution.source import segment_products
from tests.references.attribution_formulas import segment_formula

ROWS, WIDTH, STEPS, RATE = 10, 4, 120, 0.03


class Dense:
    """A curvature by its matrix."""

    def __init__(self, matrix: torch.Tensor) -> None:
        self.values, self.vectors = torch.linalg.eigh(matrix)

    def function_product(self, function, vectors):
        return {"weight": vectors["weight"] @ (self.vectors * function(self.values)) @ self.vectors.T}


@pytest.mark.parametrize(("momentum", "decay"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.3)])
def test_segments_converge_to_the_unrolled_training_of_a_linear_model(momentum, decay):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, WIDTH, generator=generator, dtype=torch.float64)
    y = torch.randn(ROWS, 1, generator=generator, dtype=torch.float64)
    network = nn.Linear(WIDTH, 1, bias=False).double()
    batch = ({"x": x}, y, torch.arange(ROWS))
    rule = OptimizerRule("sgd", momentum=momentum, weight_decay=decay)
    loss = nn.functional.mse_loss
    replay = Replay(
        network, lambda model, inputs: model(inputs["x"]), loss, rule, [RATE] * STEPS, lambda i: batch, ROWS
    )
    points = torch.randn(3, WIDTH, generator=generator, dtype=torch.float64)
    exact = replay.derivative(lambda weights: points @ weights)
    errors = []
    for count in (1, 4, 40):
        edges = [round(i * STEPS / count) for i in range(count + 1)]
        middles = [(a + b) // 2 for a, b in zip(edges, edges[1:], strict=False)]
        segments = []
        for weights in replay.states(middles):
            gradients = 2 * (x @ weights - y[:, 0])[:, None] * x
            segments.append((Dense(2 * x.T @ x / ROWS), lambda v, g=gradients: v["weight"] @ g.T))
        lengths = [(b - a) * RATE / (1 - momentum) for a, b in zip(edges, edges[1:], strict=False)]
        found = -segment_products({"weight": points}, segments, lengths, decay=decay) / ROWS
        errors.append(float((found - exact).norm() / exact.norm()))
    assert errors[2] < 0.03 and errors[2] < errors[1] < errors[0]


def test_segments_equal_the_formula_with_matrix_exponentials():
    rng = np.random.default_rng(0)
    roots = [rng.normal(size=(WIDTH, WIDTH)) for _ in range(3)]
    curvatures = [root @ root.T + 0.1 * np.eye(WIDTH) for root in roots]
    gradients, measure = rng.normal(size=(3, ROWS, WIDTH)), rng.normal(size=(2, WIDTH))
    lengths = [0.5, 2.0, 0.1]
    segments = [
        (Dense(h), lambda v, g=g: v["weight"] @ g.T)
        for h, g in zip(map(torch.from_numpy, curvatures), torch.from_numpy(gradients), strict=True)
    ]
    found = segment_products({"weight": torch.from_numpy(measure)}, segments, lengths)
    expected = segment_formula(measure, gradients, curvatures, lengths)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


def test_a_flat_direction_moves_by_the_whole_push():
    flat = Dense(torch.zeros(1, 1, dtype=torch.float64))
    ones = torch.ones(1, 1, dtype=torch.float64)
    found = segment_products({"weight": ones}, [(flat, lambda v: v["weight"])] * 2, [0.5, 2.0])
    assert found.item() == pytest.approx(2.5)


def test_no_segment_is_refused():
    with pytest.raises(ValueError, match="at least one segment"):
        segment_products({}, [], [])
