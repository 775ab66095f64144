"""Stage ``reruns``: one run's training repeated without random parts of its rows, seed and batches being the same."""
