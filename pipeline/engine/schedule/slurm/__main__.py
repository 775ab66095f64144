"""What a job of an array runs: ``python -m pipeline.engine.schedule.slurm FOLDER NUMBER``."""

import sys

from pipeline.engine.schedule.slurm.member import run

if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]))
