"""Stage ``kernel``: Gram matrices of a network."""
