"""Optimizers by name, their rates over training, and Muon."""
