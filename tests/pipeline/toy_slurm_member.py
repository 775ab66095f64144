"""A job of a study of toy stages: ``python -m tests.pipeline.toy_slurm_member FOLDER NUMBER``."""

import signal
import sys

if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})  # as pipeline.engine.schedule.slurm does
    from pipeline.engine.schedule.slurm.member import run
    from tests.pipeline.toy_slurm import install

    install()
    try:
        run(sys.argv[1], int(sys.argv[2]))
    finally:
        if "torch" in sys.modules:
            print("imported: torch")
