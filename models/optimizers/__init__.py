"""Optimizers by name, their rates over training, and Muon."""

from __future__ import annotations

from models.optimizers.muon import MuonWithAdamW, hidden_matrices
from models.optimizers.schedules import learning_rate_factor, make_optimizer

__all__ = ["MuonWithAdamW", "hidden_matrices", "learning_rate_factor", "make_optimizer"]
