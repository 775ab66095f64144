"""A job of a study of toy stages: ``python -m tests.pipeline.toy_slurm_member FOLDER NUMBER``."""

import sys

from pipeline.engine.schedule.slurm.member import run
from tests.pipeline.toy_slurm import install

if __name__ == "__main__":
    install()
    run(sys.argv[1], int(sys.argv[2]))
