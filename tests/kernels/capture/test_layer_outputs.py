"""``layer_features`` streams what modules return."""

import pytest
import torch
from torch import nn

from kernels import kernel_matrix, layer_features
from tests.kernels.cases import BY_NAME, make
from tests.references import per_sample_jacobian as slow


def test_layer_features_in_batches() -> None:
    model, inputs, labels = make(BY_NAME["tiny_resnet"], 7)
    names = ["0", "8"]
    whole: dict[str, torch.Tensor] = {}
    for name in names:
        model.get_submodule(name).register_forward_hook(
            lambda _m, _a, out, name=name: whole.__setitem__(name, out.detach().clone())
        )
    logits = slow.logits(model, inputs).detach()
    expected = dict(whole)
    parts = list(layer_features(model, inputs, names, labels=labels, batch_size=3))
    assert [part.rows for part in parts] == [slice(0, 3), slice(3, 6), slice(6, 7)]
    torch.testing.assert_close(torch.cat([part.logits for part in parts]), logits)
    assert torch.equal(torch.cat([part.labels for part in parts]), labels)
    for name in names:
        torch.testing.assert_close(torch.cat([part.features[name] for part in parts]), expected[name])
    pooled = next(layer_features(model, inputs, ["0"], "mean"))
    torch.testing.assert_close(pooled.features["0"], expected["0"].flatten(2).mean(2))
    flat = next(layer_features(model, inputs, lambda name: name == "0", "flatten"))
    assert flat.features["0"].shape == (7, expected["0"][0].numel())


class Slope(nn.Module):
    """A network for a differential equation: its output is u' + u, with u' by autograd inside ``forward``."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(1, 5), nn.Linear(5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.detach().requires_grad_()
        u = self.out(torch.tanh(self.hidden(x)))
        return torch.autograd.grad(u.sum(), x, create_graph=True)[0] + u


@pytest.mark.parametrize("kind", ["conjugate", "embedding"])
def test_networks_that_differentiate_inside_themselves_have_features(kind: str) -> None:
    torch.manual_seed(0)
    model, x = Slope().double().eval(), torch.linspace(-1, 1, 6, dtype=torch.float64)[:, None]
    hidden = torch.tanh(model.hidden(x)).detach()
    expected = hidden if kind == "conjugate" else torch.cat([model.hidden(x), model.out(hidden)], 1).detach()
    options = {"output_layer": "out"} if kind == "conjugate" else {}
    found = kernel_matrix(model, x, kind=kind, normalize=False, precision="float64", batch_size=4, **options)
    torch.testing.assert_close(found.matrix, expected @ expected.T)
    assert not found.matrix.requires_grad and all(p.requires_grad and p.grad is None for p in model.parameters())
    parts = list(layer_features(model, x, ["hidden"], batch_size=4))
    torch.testing.assert_close(torch.cat([part.features["hidden"] for part in parts]), model.hidden(x).detach())
    assert not any(part.logits.requires_grad or part.features["hidden"].requires_grad for part in parts)
