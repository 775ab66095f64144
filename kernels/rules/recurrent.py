"""Recurrent layers written out step by step, so that the rule of linear maps covers their weights.

A weight that is used at every step is one linear map over as many positions. Packed sequences, whose steps hold
different numbers of samples, are left to the generic fallback.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

State = tuple[Tensor, ...]
Step = Callable[[Tensor, Tensor, State], State]


def _lstm_step(from_input: Tensor, from_state: Tensor, state: State) -> State:
    i, f, g, o = (from_input + from_state).chunk(4, 1)
    cell = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(cell), cell


def _gru_step(from_input: Tensor, from_state: Tensor, state: State) -> State:
    (input_r, input_z, input_n), (state_r, state_z, state_n) = from_input.chunk(3, 1), from_state.chunk(3, 1)
    z, n = torch.sigmoid(input_z + state_z), torch.tanh(input_n + torch.sigmoid(input_r + state_r) * state_n)
    return (n + z * (state[0] - n),)


def _plain_step(activation: Callable[[Tensor], Tensor]) -> Step:
    return lambda from_input, from_state, _: (activation(from_input + from_state),)


def _layer(step: Step) -> Callable[..., Any]:
    """(output, final states...) of stacked recurrent layers, with the arguments of ``torch.lstm`` or ``torch.gru``."""

    def run(
        input: Tensor,
        hx: Tensor | Sequence[Tensor],
        weights: Any,
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        *batch_first: bool,
    ) -> Any:
        if not batch_first or input.ndim != 3 or (train and dropout > 0):  # a packed sequence has one argument less
            return NotImplemented
        states = (hx,) if isinstance(hx, Tensor) else tuple(hx)
        directions = 2 if bidirectional else 1
        each = len(weights) // (num_layers * directions)
        x = input if batch_first[0] else input.transpose(0, 1)
        final: list[State] = []
        for layer in range(num_layers):
            outputs = []
            for direction in range(directions):
                index = layer * directions + direction
                own = weights[index * each : (index + 1) * each]
                output, state = _sweep(step, x, tuple(s[index] for s in states), own, has_biases, direction == 1)
                outputs.append(output)
                final.append(state)
            x = torch.cat(outputs, 2)
        return (x if batch_first[0] else x.transpose(0, 1), *map(torch.stack, zip(*final, strict=True)))

    return run


def _sweep(
    step: Step, x: Tensor, state: State, weights: Sequence[Tensor], has_biases: bool, backward: bool
) -> tuple[Tensor, State]:
    """One direction of one layer over (B, T, I)."""
    bias_input, bias_state = weights[2:4] if has_biases else (None, None)
    projection = weights[-1] if len(weights) in (3, 5) else None
    inputs = F.linear(x, weights[0], bias_input)
    outputs: list[Tensor] = []
    for t in reversed(range(x.shape[1])) if backward else range(x.shape[1]):
        state = step(inputs[:, t], F.linear(state[0], weights[1], bias_state), state)
        if projection is not None:
            state = (F.linear(state[0], projection), *state[1:])
        outputs.append(state[0])
    return torch.stack(outputs[::-1] if backward else outputs, 1), state


def _cell(step: Step) -> Callable[..., Any]:
    """One step, with the arguments of ``torch.lstm_cell`` or another."""

    def run(
        input: Tensor,
        hx: Tensor | Sequence[Tensor],
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor | None = None,
        b_hh: Tensor | None = None,
    ) -> Any:
        state = (hx,) if isinstance(hx, Tensor) else tuple(hx)
        new = step(F.linear(input, w_ih, b_ih), F.linear(state[0], w_hh, b_hh), state)
        return new[0] if isinstance(hx, Tensor) else new

    return run


_TANH, _RELU = _plain_step(torch.tanh), _plain_step(torch.relu)

RECURRENT: dict[Any, Callable[..., Any]] = {
    torch.lstm: _layer(_lstm_step),
    torch.gru: _layer(_gru_step),
    torch.rnn_tanh: _layer(_TANH),
    torch.rnn_relu: _layer(_RELU),
    torch.lstm_cell: _cell(_lstm_step),
    torch.gru_cell: _cell(_gru_step),
    torch.rnn_tanh_cell: _cell(_TANH),
    torch.rnn_relu_cell: _cell(_RELU),
}
