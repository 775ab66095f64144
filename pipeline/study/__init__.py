"""A study read from Python: its results, artifacts, kernels and logits, without a command and without a write."""
