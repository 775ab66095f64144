"""Two-sample tests between embeddings, and what tells the samples apart."""
