"""Kernel machines in a network's place, and how faithfully they stand in."""
