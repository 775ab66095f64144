"""Classifiers on principal components of layer features, and neural collapse."""
