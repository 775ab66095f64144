"""Kernel regression and kernel logistic regression in the place of a network's head."""
