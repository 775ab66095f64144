"""Outside trackers: W&B, MLflow, TensorBoard."""
