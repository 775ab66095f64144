"""Stage ``retraining``: scores compared with training without chosen points."""
