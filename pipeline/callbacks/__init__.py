"""Lightning callbacks: history, resume checkpoints, snapshots and progress."""
