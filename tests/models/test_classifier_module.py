"""Losses, schedules and the Lightning module: one step equals the same step written by hand."""

import math

import pytest
import torch
import torch.nn.functional as F

from models import build_model
from models.classifier_module import ClassifierModule
from models.logits import predicted_class
from models.losses import LOSSES, loss_named
from models.optimizers.schedules import learning_rate_factor, make_optimizer

LOGITS = torch.tensor([[0.3, -1.2, 0.8], [2.0, 0.1, -0.4]])
LABELS = torch.tensor([2, 1])
SINGLE = torch.tensor([[0.7], [-0.2]])
BINARY = torch.tensor([1, 1])


@pytest.mark.parametrize(
    ("name", "outputs", "targets", "expected"),
    [
        ("cross_entropy", LOGITS, LABELS, lambda: -LOGITS.log_softmax(1)[[0, 1], [2, 1]].mean()),
        ("bce", SINGLE, BINARY, lambda: F.softplus(-SINGLE).mean()),
        ("mse", LOGITS, LABELS, lambda: ((LOGITS - torch.eye(3)[LABELS]) ** 2).mean()),
        ("mse", SINGLE, BINARY, lambda: ((SINGLE - 1) ** 2).mean()),
        ("mse", SINGLE, 1 - BINARY, lambda: ((SINGLE + 1) ** 2).mean()),
        ("mse_01", SINGLE, 1 - BINARY, lambda: (SINGLE**2).mean()),
        ("sigmoid_mse", SINGLE, BINARY, lambda: ((torch.sigmoid(SINGLE) - 1) ** 2).mean()),
        ("softmax_mse", LOGITS, LABELS, lambda: ((LOGITS.softmax(1) - torch.eye(3)[LABELS]) ** 2).mean()),
        ("regression", SINGLE, torch.tensor([1.0, 0.0]), lambda: (0.3**2 + 0.2**2) / 2 * torch.ones(())),
    ],
)
def test_losses_match_their_definitions(name, outputs, targets, expected):
    torch.testing.assert_close(LOSSES[name](outputs, targets), expected())


def test_smoothed_labels_are_trained_on_and_plain_ones_evaluated():
    smoothed = F.one_hot(LABELS, 3) * 0.7 + 0.1
    expected = -(smoothed * LOGITS.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(loss_named("cross_entropy", 0.3)(LOGITS, LABELS), expected)
    module = ClassifierModule(torch.nn.Linear(3, 3), n_classes=3, total_steps=1, label_smoothing=0.3)
    torch.testing.assert_close(module.training_loss(LOGITS, LABELS), expected)
    torch.testing.assert_close(module.loss(LOGITS, LABELS), LOSSES["cross_entropy"](LOGITS, LABELS))
    for name, share in (("bce", 0.1), ("cross_entropy", 1.0)):
        with pytest.raises(ValueError, match="a share in"):
            loss_named(name, share)
    with pytest.raises(ValueError, match="two or more outputs"):
        loss_named("cross_entropy", 0.1)(SINGLE, BINARY)


def test_unknown_names_list_the_choices():
    with pytest.raises(ValueError, match="cross_entropy, bce"):
        loss_named("hinge")
    with pytest.raises(ValueError, match="sgd, nesterov"):
        make_optimizer([torch.nn.Parameter(torch.ones(1))], "lion", lr=1.0)
    with pytest.raises(ValueError, match="constant, cosine"):
        learning_rate_factor(0, 10, schedule="cyclic")
    with pytest.raises(ValueError, match="shares"):
        learning_rate_factor(0, 10, warmup=30.0)
    with pytest.raises(ValueError, match="frozen"):
        make_optimizer([torch.nn.Parameter(torch.ones(1), requires_grad=False)], "sgd", lr=1.0)
    with pytest.raises(ValueError, match="two or more outputs"):
        LOSSES["cross_entropy"](SINGLE, BINARY)


def test_schedules():
    cosine = [learning_rate_factor(s, 10, schedule="cosine", warmup=0.3) for s in range(10)]
    assert cosine[:3] == pytest.approx([1 / 3, 2 / 3, 1])
    assert cosine[3:] == pytest.approx([0.5 * (1 + math.cos(math.pi * k / 7)) for k in range(7)])
    steps = [learning_rate_factor(s, 8, schedule="step", milestones=[0.5, 0.75], gamma=0.1) for s in range(8)]
    assert steps == pytest.approx([1] * 4 + [0.1] * 2 + [0.01] * 2)
    assert {learning_rate_factor(s, 8) for s in range(8)} == {1.0}


def test_single_logit_decides_at_zero():
    assert predicted_class(torch.tensor([[0.0], [1e-9], [-1.0]])).tolist() == [0, 1, 0]
    assert predicted_class(LOGITS).tolist() == [2, 0]


def test_centered_output_starts_at_zero_and_has_the_networks_gradient():
    model = build_model("mlp", input_shape=(4,), n_classes=2, seed=0, widths=[8], outputs=1)
    module = ClassifierModule(model, n_classes=2, total_steps=1, loss="bce", center_output=True)
    batch = {"x": torch.randn(5, 4), "label": torch.tensor([0, 1, 0, 1, 1]), "id": torch.arange(5)}
    assert torch.equal(module(batch), torch.zeros(5, 1))
    module(batch).sum().backward()
    centered = model.head.linear.weight.grad.clone()
    model.zero_grad()
    model(batch["x"]).sum().backward()
    assert torch.equal(centered, model.head.linear.weight.grad)
    assert not any("initial" in name for name in module.state_dict())
    assert len(list(module.parameters())) == len(list(model.parameters()))


@pytest.mark.parametrize("name", ["sgd", "nesterov", "adam", "adamw"])
def test_one_optimizer_step_equals_the_same_step_by_hand(name):
    start, slope, lr, decay = 2.0, 0.5, 0.1, 0.01
    parameter = torch.nn.Parameter(torch.tensor(start))
    optimizer = make_optimizer([parameter], name, lr=lr, momentum=0.9, weight_decay=decay)
    parameter.grad = torch.tensor(slope)
    optimizer.step()
    expected = {
        "sgd": start - lr * (slope + decay * start),
        "nesterov": start - lr * 1.9 * (slope + decay * start),
        "adam": start - lr,
        "adamw": start * (1 - lr * decay) - lr,
    }[name]
    assert parameter.item() == pytest.approx(expected, rel=1e-6)
