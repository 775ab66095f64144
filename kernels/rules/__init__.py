"""Rules by which an operation's input and output gradient give per-sample parameter gradients, a module per family."""

from __future__ import annotations

from kernels.rules.base import ParameterView, Rule

__all__ = ["ParameterView", "Rule"]
