"""One forward and one batched backward pass that record every factor."""
