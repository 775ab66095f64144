"""Stage ``probes``: classifiers on principal components of layer features."""
