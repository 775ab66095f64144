"""Precision, memory, process ranks and counter-based hashing."""
