"""Operations of any kind that read parameters and samples are differentiated alone, sample by sample, and exactly."""

import pytest
import torch
from torch import Tensor, nn

from kernels import kernel_matrix
from tests.references import per_sample_jacobian as reference


class Scaled(torch.autograd.Function):
    """A function that differentiates itself, for whole batches, which torch cannot vectorize."""

    @staticmethod
    def forward(ctx, x, gain):
        ctx.save_for_backward(x, gain)
        return x * gain.exp()

    @staticmethod
    def backward(ctx, row):
        x, gain = ctx.saved_tensors
        return row * gain.exp(), (row * x * gain.exp()).flatten(0, -2).sum(0)


class Odd(nn.Module):
    """One operation on hidden numbers h (n, 3, 4) with parameters of its own, between linear maps."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.first = how, nn.Linear(4, 4)
        self.gain, self.points = nn.Parameter(torch.randn(4)), nn.Parameter(torch.randn(5, 4))
        self.parts = nn.Parameter(torch.randn(2, 4, 3))
        self.last = nn.Linear({"distances": 15, "parts": 9, "mixed": 9}.get(how, 12), 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.first(x))
        if self.how == "own function":
            out = Scaled.apply(h, self.gain)
        elif self.how == "own function of positions":
            out = Scaled.apply(h.flatten(0, 1), self.gain[:4]).unflatten(0, (len(x), 3))
        elif self.how == "distances":
            out = torch.cdist(h, self.points * 0.5)
        elif self.how == "parts":
            out = torch.einsum("bp,pio,bti->bto", torch.softmax(h[:, 0, :2], -1), self.parts, h)
        elif self.how == "mixed":
            weights = torch.einsum("bp,pio->bio", (torch.softmax(h[:, 0, :2], -1), self.parts))
            out = torch.bmm(h, weights)
        else:
            out = torch.logaddexp(h, self.gain)
        return self.last(torch.sin(out).flatten(1))


class Chosen(nn.Module):
    """Rows of tables of one, two and three axes, chosen by a number of the sample."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.last = how, nn.Linear(6, 3)
        self.line, self.cube = nn.Parameter(torch.randn(4)), nn.Parameter(torch.randn(4, 2, 3))

    def forward(self, x: Tensor) -> Tensor:
        task = x[:, 0].abs().mul(10).long() % 4
        if self.how == "index_select":
            out = torch.index_select(self.cube, 0, task) * self.line.index_select(0, task)[:, None, None]
        else:
            out = self.cube[task] * self.line[task][:, None, None]
        return self.last(torch.sin(out.flatten(1)) * x)


HOWS = ["own function", "own function of positions", "distances", "parts", "mixed", "logaddexp"]


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("count", [1, 3, 4])
def test_an_operation_without_a_rule_of_its_own_has_one_for_itself(how, count):
    torch.manual_seed(0)
    check(Odd(how), torch.randn(count, 3, 4))


@pytest.mark.parametrize("how", ["index_select", "index"])
def test_rows_of_any_table_that_a_sample_chooses_are_an_embedding(how):
    torch.manual_seed(0)
    check(Chosen(how), torch.randn(5, 6))


def test_a_bag_that_takes_the_largest_entries_needs_no_pass_of_its_own():
    torch.manual_seed(0)
    bag = nn.Sequential(nn.EmbeddingBag(9, 4, mode="max"), nn.Tanh(), nn.Linear(4, 3))
    check(bag, torch.randint(0, 9, (5, 4)))


def test_a_function_that_runs_sample_by_sample_runs_once_for_all_classes(monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr("kernels.rules.operation._SMALL", 0)  # as if all samples' cotangents together were many
    model, x = Odd("own function").double().eval(), torch.randn(6, 3, 4).double()
    plain, calls = Scaled.forward, {}
    for kind in ("pntk", "trntk"):
        seen: list[int] = []
        monkeypatch.setattr(Scaled, "forward", staticmethod(lambda *args, seen=seen: seen.append(1) or plain(*args)))
        found = kernel_matrix(model, x, kind=kind, precision="float64")
        calls[kind] = len(seen)
    assert found.metadata["plan"].class_chunks == 3
    assert calls["trntk"] == calls["pntk"]


def check(model: nn.Module, x: Tensor) -> None:
    model, x = model.double().eval(), x.double() if x.is_floating_point() else x
    for p in model.parameters():
        p.requires_grad_(True)
    jacobian = reference.flat(reference.jacobian(model, x))
    found = kernel_matrix(model, x, normalize=False, precision="float64", certify="every")
    assert not found.metadata["coverage"]["fallback"]
    torch.testing.assert_close(found.matrix, reference.trntk(jacobian, jacobian), rtol=1e-10, atol=1e-12)
