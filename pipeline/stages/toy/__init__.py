"""Stage ``toy``: the two-layer model at linear width."""
