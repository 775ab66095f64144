"""Straight lines between networks: which units match, and how high the loss rises between two runs."""

from analysis.interpolation.barrier import barrier_height
from analysis.interpolation.matching import match_activations, match_weights

__all__ = ["barrier_height", "match_activations", "match_weights"]
