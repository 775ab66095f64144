"""Stage ``shift``: two-sample tests between embeddings."""
