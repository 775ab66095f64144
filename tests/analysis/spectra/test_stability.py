"""Above the edge of stability the optimizer's own steps grow on a quadratic, below it they shrink."""

import pytest
import torch

from analysis.spectra import stability_threshold
from models import make_optimizer


def distance(optimizer: str, curvature: float, **options: float) -> float:
    """Distance from the minimum after 400 steps that begin at 1."""
    model = torch.nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        model.weight.fill_(1.0)
    steps = make_optimizer(model, optimizer, **options)
    for _ in range(400):
        steps.zero_grad()
        (0.5 * curvature * model.weight**2).sum().backward()
        steps.step()
    return abs(float(model.weight.detach()))


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov"])
@pytest.mark.parametrize(("momentum", "weight_decay"), [(0.0, 0.0), (0.9, 0.0), (0.5, 1.5)])
def test_the_edge_is_where_steps_begin_to_grow(optimizer, momentum, weight_decay):
    if optimizer == "nesterov" and not momentum:
        return
    options = {"lr": 0.1, "momentum": momentum, "weight_decay": weight_decay}
    edge = stability_threshold(optimizer, 0.1, momentum, weight_decay).value
    assert distance(optimizer, 0.97 * edge, **options) < 0.1
    assert distance(optimizer, 1.03 * edge, **options) > 10


def test_an_optimizer_with_steps_of_its_own_size_has_no_edge():
    for name in ("adam", "adamw", "muon"):
        found = stability_threshold(name, 0.1)
        assert found.value is None and "2/η" in found.formula


def test_what_is_no_step_is_refused():
    for arguments, message in (
        (("sgd", 0.0), "rate=0.0 must be positive"),
        (("sgd", 0.1, 1.0), r"momentum=1.0 must be in \[0, 1\)"),
        (("lion", 0.1), "optimizer='lion' is not known"),
    ):
        with pytest.raises(ValueError, match=message):
            stability_threshold(*arguments)
