"""Entry point: ``python run.py experiment=quickstart``. See ``conf/config.yaml`` for everything one can set."""

from __future__ import annotations

import gc
import os
import signal
import sys

import hydra
from omegaconf import DictConfig

from pipeline.config.run import from_composed, register_schemas
from pipeline.engine.former_spellings import current_spelling
from pipeline.engine.scale import collapsed, expanded
from pipeline.errors import UserError
from pipeline.help import asks_for_a_page, asks_for_help, help_page

gc.disable()  # composing makes thousands of small nodes and no garbage: a fifth of the time was collection
register_schemas()


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> None:
    """Compose, check, and make the target stage."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from pipeline.entry import execute

    gc.enable()
    hydra_config = HydraConfig.get()
    multirun = hydra_config.mode == RunMode.MULTIRUN
    try:
        execute(from_composed(config), collapsed(hydra_config.overrides.task))
    except UserError as error:
        if multirun:  # the launcher reports it for this job, and the other jobs still run
            raise
        print(f"\nerror: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\ninterrupted: nothing finished is lost; the same command continues.", file=sys.stderr)
        sys.exit(130)


def in_utf8() -> None:
    """Start again where the locale is not UTF-8: names of files and settings would be read as other characters."""
    if sys.flags.utf8_mode or sys.getfilesystemencoding() == "utf-8":
        return
    os.environ.setdefault("PYTHONIOENCODING", f"{sys.getfilesystemencoding()}:backslashreplace")
    os.environ["PYTHONUTF8"] = "1"  # for the processes that this one starts
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


if __name__ == "__main__":
    in_utf8()
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.reconfigure(errors="backslashreplace")
    if asks_for_a_page(sys.argv[1:]):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `--help | head` ends quietly
    if asks_for_help(sys.argv[1:]):
        print(help_page(sys.argv[1:]))
    else:
        try:
            sys.argv[1:] = expanded([current_spelling(word) for word in sys.argv[1:]])
        except UserError as error:
            print(f"\nerror: {error}", file=sys.stderr)
            sys.exit(2)
        main()
