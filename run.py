"""Entry point: ``python run.py experiment=quickstart``. See ``conf/config.yaml`` for everything one can set."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys

import hydra
from omegaconf import DictConfig

from pipeline.config.run import register_schemas
from pipeline.ending import begin, last_words
from pipeline.engine.composition.command_words import quoted_names
from pipeline.engine.composition.former_spellings import current_spelling
from pipeline.engine.scale import expanded
from pipeline.help import asks_for_a_page, asks_for_help, help_page, makes_artifacts
from pipeline.output_folder import with_usable_outputs
from pipeline.shown_text import typed

gc.disable()  # composing makes thousands of small nodes and no garbage: a fifth of the time was collection
register_schemas()


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> None:
    """Compose, check, and make the target stage."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from pipeline.engine.composition.command_words import command_words
    from pipeline.engine.composition.setting_names import run_config
    from pipeline.entry import execute

    gc.enable()
    job = HydraConfig.get()
    if job.mode == RunMode.MULTIRUN:  # the launcher reports an error of this job, and the other jobs still run
        if multiprocessing.parent_process() is not None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the sweep's, which then ends its processes
        execute(run_config(config), command_words(job))
        return
    with last_words():
        execute(run_config(config), command_words(job), job.launcher)


def in_utf8() -> None:
    """Start again where the locale is not UTF-8: names of files and settings would be read as other characters."""
    if sys.flags.utf8_mode or sys.getfilesystemencoding() == "utf-8":
        return
    os.environ.setdefault("PYTHONIOENCODING", f"{sys.getfilesystemencoding()}:backslashreplace")
    os.environ["PYTHONUTF8"] = "1"  # for the processes that this one starts
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def hide_nothing() -> None:
    """Let processes that this one starts find the project's modules first, as this one does.

    Ranks, jobs of SLURM and processes of a sweep begin in the folder of the command, where a ``models.py`` may lie.
    """
    here = os.path.dirname(os.path.abspath(__file__))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    os.environ["PYTHONSAFEPATH"] = "1"


if __name__ == "__main__":
    in_utf8()
    hide_nothing()
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.reconfigure(errors="backslashreplace")
    if asks_for_a_page(sys.argv[1:]):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `--help | head` ends quietly
    if asks_for_help(sys.argv[1:]):
        with last_words():
            print(typed(help_page(sys.argv[1:])))
    else:
        with last_words():
            sys.argv[1:] = expanded([current_spelling(quoted_names(word)) for word in sys.argv[1:]])
            sys.argv[1:] = with_usable_outputs(sys.argv[1:])
            begin(sys.argv[1:])
            if makes_artifacts(sys.argv[1:]):  # composing a study takes a second, on a network disk more
                print("reading the settings", file=sys.stderr, flush=True)
            main()
