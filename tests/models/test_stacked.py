"""Members of a stack are trained as they would be alone, also where one tensor has two names."""

import torch
from torch import Tensor, nn

from models.stacked import StackedNetworks


class Tied(nn.Module):
    """A layer with two names, a weight in two places, and a buffer that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second, self.head.weight = self.first, self.first.weight
        self.norm = nn.BatchNorm1d(4)
        self.same = self.norm
        self.register_buffer("scale", torch.full((1,), 2.0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.same(self.second(torch.tanh(self.norm(self.first(x))))))) * self.scale


def test_tensors_with_two_names_train_as_in_one_network() -> None:
    torch.manual_seed(0)
    members = [Tied() for _ in range(2)]
    x, y = torch.randn(2, 6, 4), torch.randint(4, (2, 6))
    stack = StackedNetworks(members, torch.device("cpu"))
    for _ in range(2):  # the second pass starts from what the first left
        losses, _ = stack.training_pass(x, y, nn.functional.cross_entropy)
        losses.sum().backward()
    for i, member in enumerate(members):
        for _ in range(2):
            loss = nn.functional.cross_entropy(member(x[i]), y[i])
            loss.backward()
        torch.testing.assert_close(losses[i], loss)
        for name, parameter in member.named_parameters():
            torch.testing.assert_close(stack.weights[name].grad[i], parameter.grad)
        kept = member.state_dict()
        state = stack.state_of(i)
        assert state.keys() == kept.keys()
        for name, value in state.items():
            torch.testing.assert_close(value, kept[name])
