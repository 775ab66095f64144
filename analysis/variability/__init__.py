"""What trimming levels say about seeds: claims, seed counts, rankings, contrasts."""
