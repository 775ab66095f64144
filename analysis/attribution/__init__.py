"""Which training points speak for a decision: decompositions, gradients along training, retraining scores."""
