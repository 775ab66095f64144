"""Stage ``retraining``: scores held against training without chosen points."""
