"""The machine under a run: arithmetic, ranks, progress, owner lock, provenance."""
