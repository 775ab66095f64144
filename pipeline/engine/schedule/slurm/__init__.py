"""A whole graph as job arrays of SLURM: what is submitted, recorded and made there."""
