"""Muon moves hidden matrices as torch's does, the rest as AdamW, and continues from a checkpoint."""

import copy

import pytest
import torch
from torch import nn

from models.optimizers.muon import MuonWithAdamW, hidden_matrices
from models.optimizers.schedules import make_optimizer


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 7, bias=False), nn.LayerNorm(7), nn.Linear(7, 3))


def train(model: nn.Module, *optimizers: torch.optim.Optimizer, steps: int = 4) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        loss = model(torch.randn(8, 6, generator=generator)).square().mean()
        model.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()


def test_steps_are_those_of_torch() -> None:
    ours, theirs = network(), network()
    train(ours, make_optimizer(ours, "muon", lr=0.05, momentum=0.9, weight_decay=0.1))
    matrices = [theirs[0].weight, theirs[2].weight]
    others = [one for one in theirs.parameters() if all(one is not matrix for matrix in matrices)]
    train(
        theirs,
        torch.optim.Muon(matrices, lr=0.05, momentum=0.9, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=0.05, weight_decay=0.1),
    )
    for name, weight in ours.named_parameters():
        assert torch.equal(weight, theirs.get_parameter(name)), name


def test_a_filter_is_the_matrix_of_its_output_channels_in_any_order_of_memory() -> None:
    torch.manual_seed(0)
    planar = nn.Sequential(nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Conv2d(6, 3, 3))
    packed, flat = copy.deepcopy(planar), nn.Linear(18, 6)
    for filters in packed.parameters():
        if filters.ndim == 4:
            filters.data = filters.data.contiguous(memory_format=torch.channels_last)
    gradient = torch.randn(6, 2, 3, 3)
    flat.weight.data = planar[0].weight.data.reshape(6, -1).clone()
    flat.weight.grad = gradient.reshape(6, -1).clone()
    torch.optim.Muon([flat.weight], lr=0.1, weight_decay=0.0, adjust_lr_fn="match_rms_adamw").step()
    for model in (planar, packed):
        model[0].weight.grad = gradient.clone()
        MuonWithAdamW(model, lr=0.1).step()
        torch.testing.assert_close(model[0].weight.reshape(6, -1), flat.weight, atol=2e-3, rtol=0)  # bfloat16 inside
    assert packed[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_a_checkpoint_continues_with_the_same_bits() -> None:
    whole = network()
    through = MuonWithAdamW(whole, lr=0.02)
    train(whole, through)
    train(whole, through)
    first = network()
    before = MuonWithAdamW(first, lr=0.02)
    train(first, before)
    second = network()
    second.load_state_dict(first.state_dict())
    after = MuonWithAdamW(second, lr=0.5)
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    train(second, after)
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), second.parameters(), strict=True))


def test_embeddings_and_a_tied_or_last_layer_are_left_to_adamw() -> None:
    body = nn.Linear(4, 4)
    embedding, head = nn.Embedding(9, 4), nn.Linear(4, 9, bias=False)
    head.weight = embedding.weight
    assert hidden_matrices(nn.Sequential(embedding, body, head)) == [body.weight]
    body.weight.requires_grad_(False)
    with pytest.raises(ValueError, match="this network trains none; choose adamw"):
        MuonWithAdamW(nn.Sequential(embedding, body, head), lr=0.1)


def test_a_list_of_parameters_is_refused() -> None:
    with pytest.raises(ValueError, match="muon needs the network"):
        make_optimizer(network().parameters(), "muon", lr=0.1)
