"""What a run needs of its machine: arithmetic, process ranks, progress, file locks and provenance."""
