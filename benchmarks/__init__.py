"""Side-by-side measurements: printed tables, never a timed assertion."""
