"""What a job of an array runs: ``python -m pipeline.engine.schedule.slurm FOLDER NUMBER``."""

import signal
import sys

if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})  # a preemption waits until the job can answer it
    from pipeline.engine.schedule.slurm.member import run

    run(sys.argv[1], int(sys.argv[2]))
