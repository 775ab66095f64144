"""Impossible combinations of settings, each refused in one sentence."""
