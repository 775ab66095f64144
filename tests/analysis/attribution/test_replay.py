"""The replayed training is PyTorch's, and its derivative is that of real retraining, also after a kill."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2ForSequenceClassification

from analysis.attribution.kept_states import Memory
from analysis.attribution.optimizer_steps import RULES, OptimizerRule
from analysis.attribution.replay import Replay
from models.logits import logits_of
from models.losses import loss_named
from models.optimizers.schedules import make_optimizer
from tests.kernels.cases import CASES, make
from tests.references.attribution_formulas import unrolled_derivative

ROWS, STEPS, BATCH = 12, 9, 4


def gpt2() -> nn.Module:
    config = GPT2Config(
        vocab_size=11, n_positions=6, n_embd=8, n_layer=1, n_head=2, num_labels=3, pad_token_id=0,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False, attn_implementation="eager",
    )  # fmt: skip
    return GPT2ForSequenceClassification(config)


NETWORKS = {
    "mlp": lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.Tanh(), nn.Linear(5, 3)),
    "cnn": lambda: nn.Sequential(nn.Conv2d(1, 2, 2), nn.GELU(), nn.AvgPool2d(3), nn.Flatten(), nn.Linear(2, 3)),
    "gpt2": gpt2,
}


def training(kind: str, optimizer: str, *, loss: str = "cross_entropy", decay: float = 0.01):
    """A replay, the same training by PyTorch's own optimizer, and a measure of final weights."""
    torch.manual_seed(0)
    network = NETWORKS[kind]().double()
    generator = torch.Generator().manual_seed(1)
    if kind == "gpt2":
        tokens = torch.randint(1, 11, (ROWS + 2, 6), generator=generator)
        every = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    else:
        every = {"image": torch.randn(ROWS + 2, 1, 4, 4, generator=generator, dtype=torch.float64)}
    targets = torch.arange(ROWS) % 3
    order = torch.cat([torch.randperm(ROWS, generator=generator) for _ in range(3)]).view(STEPS, BATCH)
    rates = [0.05 / (1 + step) for step in range(STEPS)]

    def batch(step: int):
        rows = order[step]
        return {name: value[rows] for name, value in every.items()}, targets[rows], rows

    rule = OptimizerRule(optimizer, momentum=0.9, weight_decay=decay)
    replay = Replay(network, logits_of, loss_named(loss), rule, rates, batch, ROWS)
    test = {name: value[ROWS:] for name, value in every.items()}

    def measure(weights: torch.Tensor) -> torch.Tensor:
        return replay.outputs(weights, test)[:, 0]

    return replay, measure


def by_pytorch(replay: Replay, optimizer: str, decay: float = 0.01) -> torch.Tensor:
    network = replay.network.train()
    made = make_optimizer(network.parameters(), optimizer, lr=1.0, momentum=0.9, weight_decay=decay)
    for step, rate in enumerate(replay.rates):
        inputs, targets, _ = replay.batch(step)
        made.param_groups[0]["lr"] = rate
        made.zero_grad()
        cross_entropy(logits_of(network, inputs), targets).backward()
        made.step()
    return torch.cat([p.detach().flatten() for p in network.parameters()])


@pytest.mark.parametrize("optimizer", RULES)
def test_steps_are_those_of_pytorch(optimizer):
    replay, _ = training("mlp", optimizer)
    ones = torch.ones(ROWS, dtype=torch.float64)
    torch.testing.assert_close(replay.run(ones), by_pytorch(replay, optimizer), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("kind", "optimizer", "loss"),
    [
        *(("mlp", optimizer, "cross_entropy") for optimizer in RULES),
        ("mlp", "sgd", "bce"),
        ("mlp", "sgd", "mse"),
        ("cnn", "sgd", "cross_entropy"),
        ("cnn", "adam", "cross_entropy"),
        ("gpt2", "sgd", "cross_entropy"),
        ("gpt2", "adamw", "cross_entropy"),
    ],
)
def test_the_derivative_is_that_of_real_retraining(kind, optimizer, loss):
    """Central differences of whole trainings with one row's weight moved."""
    replay, measure = training(kind, optimizer, loss=loss)
    found = replay.derivative(measure).numpy()
    assert found.shape == (2, ROWS) and np.abs(found).min() > 0
    step = 1e-5
    for row in (0, 7):
        values = []
        for sign in (1, -1):
            weights = torch.ones(ROWS, dtype=torch.float64)
            weights[row] += sign * step
            values.append(measure(replay.run(weights)).detach().numpy())
        expected = (values[0] - values[1]) / (2 * step)
        np.testing.assert_allclose(found[:, row], expected, rtol=2e-5, atol=1e-8 * np.abs(found).max())


SHARED = ("mlp", "conv2d", "groupnorm", "layernorm", "tied_linear", "lstm", "frozen_first_layer", "tiny_gpt2")


@pytest.mark.parametrize("name", SHARED)
def test_the_derivative_is_that_of_the_whole_graph_on_the_shared_networks(name):
    """Autograd through the unrolled training, as long as its graph fits into memory."""
    model, inputs, labels = make(next(case for case in CASES if case.name == name), 6)
    for layer in model.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    named = inputs if isinstance(inputs, dict) else {"x": inputs}
    rates, places = [0.05, 0.04, 0.03], [torch.tensor(rows) for rows in ([0, 1, 2], [3, 4, 5], [1, 3, 5])]

    def batch(step: int):
        rows = places[step]
        return {n: value[rows] for n, value in named.items()}, labels[rows], rows

    rule = OptimizerRule("sgd", momentum=0.9)
    replay = Replay(model, logits_of, loss_named("cross_entropy"), rule, rates, batch, 6)
    found = replay.derivative(lambda weights: replay.outputs(weights, named)[:2, 0])

    def measure(state):
        made = torch.func.functional_call(model, state, *(((inputs,), {}) if "x" in named else ((), named)))
        return (made if isinstance(made, torch.Tensor) else made.logits)[:2, 0]

    batches = [(given["x"] if "x" in given else given, y, rows) for given, y, rows in map(batch, range(3))]
    expected = unrolled_derivative(model, batches, rates, 0.9, 6, measure)
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max())


def test_weights_that_no_row_touches_leave_adam_finite():
    """An entry whose gradient is always zero has second moment zero, where the root has no derivative of its own."""
    replay, measure = training("mlp", "adam", decay=0.0)
    with torch.no_grad():
        replay.start[:16] = 0.0  # first unit: no input weight
        replay.start[80] = -0.0
    for name in ("image",):
        base = replay.batch

        def blank(step: int, base=base, name=name):
            inputs, targets, rows = base(step)
            dark = inputs[name].clone()
            dark[:, :, 0, 0] = 0.0
            return {name: dark}, targets, rows

    replay.batch = blank
    assert bool(replay.derivative(measure).isfinite().all())


class Dies(Memory):
    """Is killed at the given save."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at, self.saves = at, 0

    def save(self, name, tensors):
        self.saves += 1
        if self.saves == self.at:
            raise KeyboardInterrupt
        super().save(name, {key: value.clone() for key, value in tensors.items()})


def test_a_killed_sweep_goes_on_with_the_same_bits():
    replay, measure = training("mlp", "adam")
    whole = Dies(0)
    expected = replay.derivative(measure, whole)
    assert whole.saves == 4 + 3  # states 0, 3, 6 and 9; adjoints after each of three segments
    for at in range(1, 8):
        keep = Dies(at)
        with pytest.raises(KeyboardInterrupt):
            replay.derivative(measure, keep)
        assert torch.equal(replay.derivative(measure, keep), expected)


def test_masks_and_statistics_that_a_replay_cannot_follow_are_refused():
    for layer, message in ((nn.Dropout(0.5), "set the dropout to 0"), (nn.BatchNorm1d(16), "running_mean")):
        network = nn.Sequential(nn.Flatten(), layer, nn.Linear(16, 3)).double()
        batch = ({"image": torch.randn(4, 1, 4, 4).double()}, torch.arange(4) % 3, torch.arange(4))
        with pytest.raises(ValueError, match=message):
            Replay(network, logits_of, cross_entropy, OptimizerRule("sgd"), [0.1], lambda step, b=batch: b, 4)


def test_an_optimizer_without_a_derivative_is_refused():
    with pytest.raises(ValueError, match="'muon' has no derivative here; train with one of sgd"):
        OptimizerRule("muon")


def test_the_plan_says_steps_states_and_trainings():
    replay, _ = training("mlp", "sgd")
    ticks = iter(range(100))
    plan = replay.plan(5, clock=lambda: float(next(ticks)))
    assert (plan.steps, plan.measures, plan.kept) == (STEPS, 5, 3)
    assert plan.trainings == 2 + 5 * (1 / 3) / (1 / 3)
    assert "9 steps back for 5 numbers" in str(plan)


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_one_pass_for_many_equals_one_by_one(kind):
    replay, measure = training(kind, "adam")
    weights = torch.rand(5, ROWS, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    alone, derivative = replay.run_together(weights), replay.derivative(measure)
    torch.testing.assert_close(alone, torch.stack([replay.run(one) for one in weights]))
    with torch.no_grad():
        assert torch.equal(replay.run_together(weights), alone), "one by one as well, where gradients are switched off"
    replay.together = 3
    torch.testing.assert_close(replay.run_together(weights), alone, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(replay.derivative(measure), derivative, rtol=1e-9, atol=1e-14)


def test_states_are_those_of_the_training():
    replay, _ = training("mlp", "sgd")
    first, last = replay.states([0, STEPS])
    assert torch.equal(first, replay.start)
    assert torch.equal(last, replay.run(torch.ones(ROWS, dtype=torch.float64)))
