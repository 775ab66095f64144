"""How a command ends: 2 and one sentence where the user can act, 1 where some cells failed or we are at fault."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from pipeline.errors import FailedCells, MissingUpstream, UserError
from pipeline.machine.progress import write_log
from pipeline.shown_text import shown, typed

REPORT = (
    "This is a fault of seedscope, not of your input. Please report it where the source is kept, with the traceback "
    "above and the command. Nothing finished is lost."
)
_WHOLE = "HYDRA_FULL_ERROR"
"""Hydra's switch for whole tracebacks: a user who sets it sees every traceback."""
_LAUNCHERS = {"submitit", "joblib"}
"""Packages whose errors mean that a job was killed, cancelled or could not be submitted."""
_SHOW_ALL = os.environ.get(_WHOLE) == "1"


def begin(arguments: Sequence[str]) -> None:
    """Refuse flags that do not exist, and have Hydra raise its errors, which it would print itself.

    Raises
    ------
    UserError
        If Hydra's parser cannot read the command line.
    """
    from hydra._internal.utils import get_args_parser

    def refuse(message: str) -> NoReturn:
        between = "unrecognized" in message and not message.partition(": ")[2].startswith("-")
        hint = (
            "flags come before or after all settings, not between them"
            if between
            else ("`python run.py --hydra-help` lists the flags")
        )
        raise UserError(f"{message[:1].upper()}{message[1:]}; {hint}.")

    parser = get_args_parser()
    parser.error = refuse
    parser.parse_args(list(arguments))
    os.environ[_WHOLE] = "1"


@contextmanager
def last_words() -> Iterator[None]:
    """Turn whatever ends a command early into its last words and its exit code.

    Raises
    ------
    SystemExit
        2 for a :class:`UserError` and what Hydra refuses, 130 for an interrupt, 1 where some cells of a study have
        failed, and for anything else.
    """
    try:
        yield
    except KeyboardInterrupt:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # who presses twice wants the end, and no traceback
        _last("interrupted: nothing finished is lost; the same command continues.")
        sys.exit(130)
    except Exception as error:
        sentence, fault = _sentence(error), _fault_below(error)
        if sentence is None or fault is not None or _SHOW_ALL:
            frames = shown("".join(traceback.format_exception(fault or error)))
            print(frames, end="", file=sys.stderr)
            write_log(frames.rstrip("\n"))
        if sentence is not None:
            _last(f"error: {typed(shown(sentence))}")
        if sentence is None or fault is not None:
            _last(REPORT)
            sys.exit(1)
        sys.exit(1 if isinstance(error, FailedCells) else 2)


def _last(words: str) -> None:
    """Say it after an empty line, and in the command's log."""
    print(f"\n{words}", file=sys.stderr)
    write_log(words)


def _fault_below(error: Exception) -> Exception | None:
    """Give the fault of ours for which a report lacks a cell; None where all that it lacks is the user's to mend."""
    cause = error.__cause__ if isinstance(error, MissingUpstream) else None
    if isinstance(cause, MissingUpstream):
        return _fault_below(cause)
    return cause if isinstance(cause, Exception) and _sentence(cause) is None else None


def _sentence(error: Exception) -> str | None:
    """Say what the user can do about an error; None where it is our fault."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, BrokenPipeError) and _nobody_reads():
        return "Nobody reads the output any more, so the command has stopped. Nothing finished is lost."
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    if isinstance(error, HydraException | OmegaConfBaseException | YAMLError):
        from pipeline.engine.composition.hydra_errors import plain_words

        return plain_words(error)
    if type(error).__module__.partition(".")[0] in _LAUNCHERS:
        why = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        return (
            f"A job of the sweep ended without a result: {why.rstrip('.')}. What is finished stays, and the same "
            "command makes the rest."
        )
    frames = traceback.extract_tb(error.__traceback__)
    raised_in = [frame.filename.replace(os.sep, "/") for frame in frames]
    in_hydra = any("/hydra/" in name for name in raised_in) and not any("/pipeline/entry.py" in n for n in raised_in)
    if isinstance(error, OSError) and in_hydra and error.filename is not None:
        return (
            f"Hydra cannot write its log to {error.filename} ({error.strerror}). Start from a folder that you can "
            "write to, or add hydra.run.dir=FOLDER (in a sweep hydra.sweep.dir=FOLDER)."
        )
    if isinstance(error, ValueError) and in_hydra:  # such as two of Hydra's flags that exclude one another
        return " ".join(str(error).split())
    return None


def _nobody_reads() -> bool:
    """Whether the standard output leads to a closed pipe; it then leads nowhere, so that Python ends without a word."""
    try:
        output, poll = sys.stdout.fileno(), select.poll()
    except (OSError, ValueError, AttributeError):
        return False
    poll.register(output, 0)
    closed = any(event & select.POLLERR for _, event in poll.poll(0))
    if closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return closed
