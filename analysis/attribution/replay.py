"""A deterministic training as a function of its rows' weights, and the exact derivative of what it ends in (MAGIC).

Ilyas and Engstrom (2025), arXiv:2503.13751: with w_i the weight of training row i in the loss of every batch,
θ_{t+1} = step(θ_t, Σ_i w_i ∇ℓ_i(θ_t) / B). Reverse mode through all steps gives ∂m/∂w_i of any measure m of the final
weights, for all rows at once. States are kept at every √T-th step and made again in between.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from analysis.attribution.kept_states import Keep, Memory
from analysis.attribution.optimizer_steps import OptimizerRule, State
from analysis.attribution.replay_checks import (
    Batch,
    require_measures,
    require_no_hidden_state,
    require_row_weights,
    require_same_batches,
    require_steps,
)


@dataclass(frozen=True)
class ReplayPlan:
    """What a sweep back through a training will take.

    Attributes
    ----------
    steps, measures, kept : int
        Optimizer steps, differentiated numbers, and states on disk or in memory.
    state_bytes, work_bytes : int
        Of all kept states, and of what is in memory at a time.
    step_seconds, pull_seconds : float
        Of one step of training, and of one step back for one measure, as timed on the first batch.
    """

    steps: int
    measures: int
    kept: int
    state_bytes: int
    work_bytes: int
    step_seconds: float
    pull_seconds: float

    @property
    def trainings(self) -> float:
        """Cost in multiples of one training: two passes forward, and one step back per measure."""
        return 2 + self.measures * self.pull_seconds / self.step_seconds

    def __str__(self) -> str:
        """Say it in one line."""
        seconds = self.steps * (2 * self.step_seconds + self.measures * self.pull_seconds)
        return (
            f"{self.steps} steps back for {self.measures} numbers: about {seconds:.0f} s ({self.trainings:.0f} "
            f"trainings), {self.kept} states of {self.state_bytes / self.kept / 2**20:.1f} MiB kept, "
            f"{self.work_bytes / 2**20:.0f} MiB of memory"
        )


class Replay:
    """Training of one network on given batches, each row with a weight.

    Parameters
    ----------
    network : nn.Module
        As training finds it; it is not changed. Its dtype is that of everything here.
    call : callable
        From the network and a batch's inputs to logits (b, C).
    loss : callable
        From logits and targets to the mean loss.
    rule : OptimizerRule
        The optimizer.
    rates : sequence of float
        Learning rate of each step.
    batch : callable
        From the number of a step to its batch.
    rows : int
        Training rows.
    together : int
        Derivatives that are pulled back, and trainings that are run, in one vectorized pass; 1 for a network that
        :func:`torch.vmap` cannot take.

    Raises
    ------
    ValueError
        If training draws random numbers (dropout, an augmentation that is not seeded by the step) or changes buffers
        (batch normalization): weights alone then do not say what a step does. If nothing is trained, or the first
        batch does not fit.

    Examples
    --------
    >>> import torch
    >>> from analysis.attribution import OptimizerRule, Replay
    >>> x, y = torch.eye(2).double(), torch.tensor([[1.0], [2.0]]).double()
    >>> batch = ({"x": x}, y, torch.arange(2))
    >>> network = torch.nn.Linear(2, 1, bias=False).double()
    >>> _ = torch.nn.init.zeros_(network.weight)
    >>> replay = Replay(network, lambda model, inputs: model(inputs["x"]), torch.nn.functional.mse_loss,
    ...     OptimizerRule("sgd"), [0.1], lambda step: batch, rows=2)
    >>> replay.run(torch.ones(2).double())  # one step of 0.1: half the gradient of each row
    tensor([0.1000, 0.2000], dtype=torch.float64)
    >>> replay.derivative(lambda weights: weights).T  # row i moves weight i only
    tensor([[0.1000, 0.0000],
            [0.0000, 0.2000]], dtype=torch.float64)
    """

    def __init__(
        self,
        network: nn.Module,
        call: Callable[[nn.Module, Mapping[str, Tensor]], Tensor],
        loss: Callable[[Tensor, Tensor], Tensor],
        rule: OptimizerRule,
        rates: Sequence[float],
        batch: Callable[[int], Batch],
        rows: int,
        together: int = 1,
    ) -> None:
        self.network, self.call, self.loss, self.rule = network, call, loss, rule
        self.rates, self.batch, self.rows, self.together = list(rates), batch, rows, together
        trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
        require_steps(self.rates, together, len(trained))
        self.names, self.shapes = list(trained), [p.shape for p in trained.values()]
        self.start = torch.cat([p.detach().flatten() for p in trained.values()])
        self._caller = _Caller(network, call)
        require_same_batches(batch, rows)
        require_no_hidden_state(network, lambda: self._outputs(self.start, batch(0)[0], train=True))

    def __len__(self) -> int:
        """Optimizer steps."""
        return len(self.rates)

    def outputs(self, weights: Float[Tensor, " p"], inputs: Mapping[str, Tensor]) -> Float[Tensor, "n c"]:
        """Logits of the network with other weights, in evaluation mode."""
        mode = self.network.training
        try:
            return self._outputs(weights, inputs, train=False)
        finally:
            self.network.train(mode)

    def run(self, row_weights: Float[Tensor, " n"]) -> Float[Tensor, " p"]:
        """Train with these weights of the rows; the final weights of the network."""
        require_row_weights(row_weights, 1, rows=self.rows, dtype=self.start.dtype)
        state = self.rule.initial(self.start)
        for step in range(len(self)):
            state = self._step(state, row_weights, step)
        return state[0]

    def run_together(self, row_weights: Float[Tensor, "s n"]) -> Float[Tensor, "s p"]:
        """Train once for each row of weights, ``together`` at a time; the final weights of each network."""
        require_row_weights(row_weights, 2, rows=self.rows, dtype=self.start.dtype)
        found = []
        for some in row_weights.split(self.together):
            if self.together == 1:
                found.append(self.run(some[0])[None])
                continue
            state = [part.expand(len(some), -1).clone() for part in self.rule.initial(self.start)]
            for step in range(len(self)):
                inputs, targets, rows = self.batch(step)

                def loss(weights: Tensor, own: Tensor, inputs=inputs, targets=targets) -> Tensor:  # type: ignore[no-untyped-def]
                    return own @ self._losses(weights, inputs, targets) / len(own)

                gradient = torch.func.vmap(torch.func.grad(loss))(state[0], some[:, rows])
                state = [part.detach() for part in self.rule.step(state, gradient, self.rates[step], step)]
            found.append(state[0])
        return torch.cat(found)

    def derivative(
        self,
        measure: Callable[[Tensor], Tensor],
        keep: Keep | None = None,
        say: Callable[[int], None] | None = None,
        *,
        name: str = "sweep",
    ) -> Float[Tensor, "k n"]:
        """Differentiate measures of the final weights by the weight of every row, at weights of one.

        Parameters
        ----------
        measure : callable
            From the final weights (p,) to numbers (k,), differentiable.
        keep : Keep, optional
            A killed sweep that kept its states goes on from the last whole segment, with the same bits.
        say : callable, optional
            Told the number of steps that are left, after each segment.
        name : str
            Of this sweep in ``keep``; sweeps for several measures share the states of the one training.
        """
        keep = Memory() if keep is None else keep
        stride = max(1, math.isqrt(len(self) - 1) + 1)
        ones = self.start.new_ones(self.rows)
        self._forward(ones, stride, keep)
        left, adjoint, found = self._begin(measure, ones, keep, name)
        while left > 0:
            first = (left - 1) // stride * stride
            states = [self._kept(keep, first)]
            for step in range(first, left - 1):
                states.append(self._step(states[-1], ones, step))
            for step in reversed(range(first, left)):
                adjoint = self._back(states.pop(), ones, adjoint, found, step)
            left = first
            parts = {f"adjoint{i}": part for i, part in enumerate(adjoint)}
            keep.save(name, {**parts, "found": found.clone(), "left": torch.tensor(left)})
            if say is not None:
                say(left)
        return found

    def plan(self, measures: int, clock: Callable[[], float]) -> ReplayPlan:
        """Time one step forward and one back on the first batch, and say what the sweep takes."""
        ones, state = self.start.new_ones(self.rows), self.rule.initial(self.start)
        self._step(state, ones, 0)
        begin = clock()
        for _ in range(3):
            self._step(state, ones, 0)
        forward = (clock() - begin) / 3
        few = min(measures, max(3, self.together))
        adjoint = [part.new_ones(few, len(part)) for part in state]
        begin = clock()
        self._back(state, ones, adjoint, ones.new_zeros(few, self.rows), 0)
        back = (clock() - begin) / few
        stride = max(1, math.isqrt(len(self) - 1) + 1)
        one = sum(part.numel() * part.element_size() for part in state)
        kept = -(-len(self) // stride)
        return ReplayPlan(len(self), measures, kept, one * kept, one * (stride + 3 * measures), forward, back)

    def states(self, steps: Sequence[int]) -> list[Float[Tensor, " p"]]:
        """Weights before these steps, in ascending order, of one training with weights of one; T is the end."""
        if not steps or list(steps) != sorted({*steps}) or steps[0] < 0 or steps[-1] > len(self):
            raise ValueError(f"steps={list(steps)} must ascend from 0 to {len(self)}, the steps of this training")
        ones, state = self.start.new_ones(self.rows), self.rule.initial(self.start)
        found = []
        for step in range(max(steps) + 1):
            if step in steps:
                found.append(state[0].clone())
            if step < max(steps):
                state = self._step(state, ones, step)
        return found

    def _forward(self, ones: Tensor, stride: int, keep: Keep) -> None:
        """Train once, keeping every ``stride``-th state; states that an earlier run kept are not made again."""
        marks = [*range(0, len(self), stride), len(self)]
        have = [mark for mark in marks if keep.load(f"state{mark}") is not None]
        last = max(have, default=None)
        state = self.rule.initial(self.start) if last is None else self._kept(keep, last)
        for step in range(last or 0, len(self) + 1):
            if not bool(state[0].isfinite().all()):
                raise ValueError(
                    f"the training diverges, weights are NaN or infinite after step {step}: lower its rate"
                )
            if step in marks and step != last:
                keep.save(f"state{step}", {f"part{i}": part for i, part in enumerate(state)})
            if step < len(self):
                state = self._step(state, ones, step)

    def _kept(self, keep: Keep, step: int) -> State:
        held = keep.load(f"state{step}")
        if held is None:
            raise ValueError(f"the state at step {step} is gone from where the replay kept it: begin it again")
        return [held[f"part{i}"] for i in range(len(held))]

    def _begin(
        self, measure: Callable[[Tensor], Tensor], ones: Tensor, keep: Keep, name: str
    ) -> tuple[int, State, Tensor]:
        held = keep.load(name)
        if held is not None:
            parts = [held[f"adjoint{i}"] for i in range(len(held) - 2)]
            return int(held["left"]), parts, held["found"].clone()
        state = self._kept(keep, len(self))
        weights = state[0].clone().requires_grad_()
        values = measure(weights)
        require_measures(values)
        first = torch.stack([torch.autograd.grad(one, weights, retain_graph=True)[0] for one in values])
        rest = [torch.zeros_like(first) for _ in state[1:]]
        return len(self), [first, *rest], ones.new_zeros(len(first), self.rows)

    def _step(self, state: State, row_weights: Tensor, step: int) -> State:
        inputs, targets, rows = self.batch(step)
        with torch.enable_grad():  # a caller that only wants the end may have switched gradients off
            weights = state[0].detach().requires_grad_()
            loss = row_weights[rows] @ self._losses(weights, inputs, targets) / len(rows)
            (gradient,) = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            return self.rule.step(state, gradient, self.rates[step], step)

    def _back(self, state: State, row_weights: Tensor, adjoint: State, found: Tensor, step: int) -> State:
        """Pull adjoints back through one step, and add what the rows of its batch have to do with them."""
        inputs, targets, rows = self.batch(step)
        weights = state[0].detach().requires_grad_()
        own = row_weights[rows].clone().requires_grad_()
        loss = own @ self._losses(weights, inputs, targets) / len(rows)
        (gradient,) = torch.autograd.grad(loss, weights, create_graph=True)
        with torch.no_grad():
            before, slopes = self.rule.pull(state, gradient.detach(), adjoint, self.rates[step], step)
        start = 0
        for some in slopes.split(self.together):
            # what no row of the batch moves has no derivative, such as an output layer's bias by itself
            if self.together == 1:
                bend, share = torch.autograd.grad(
                    gradient, (weights, own), some[0], retain_graph=True, allow_unused=True
                )
            else:
                bend, share = torch.autograd.grad(
                    gradient, (weights, own), some, retain_graph=True, allow_unused=True, is_grads_batched=True
                )
            at = slice(start, start := start + len(some))
            if bend is not None:
                before[0][at] += bend
            if share is not None:
                found[at, rows] += share
        return before

    def _losses(self, weights: Tensor, inputs: Mapping[str, Tensor], targets: Tensor) -> Float[Tensor, " b"]:
        outputs = self._outputs(weights, inputs, train=True)
        return torch.vmap(lambda o, t: self.loss(o[None], t[None]))(outputs, targets)

    def _outputs(self, weights: Tensor, inputs: Mapping[str, Tensor], *, train: bool) -> Tensor:
        self.network.train(train)
        parts = weights.split([shape.numel() for shape in self.shapes])
        named = {f"network.{n}": p.view(s) for n, p, s in zip(self.names, parts, self.shapes, strict=True)}
        return functional_call(self._caller, named, (inputs,))


class _Caller(nn.Module):
    """Calls a network through a function, so that its parameters can be replaced for the call."""

    def __init__(self, network: nn.Module, call: Callable[[nn.Module, Mapping[str, Tensor]], Tensor]) -> None:
        super().__init__()
        self.network, self._call = network, call

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Logits of a batch."""
        return self._call(self.network, inputs)
