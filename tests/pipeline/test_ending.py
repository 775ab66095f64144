"""A command ends with 0, with one sentence and 2, or with a traceback, where to report it, and 1."""

import logging
import os
import signal
import sys

import pytest
from hydra.errors import OverrideParseException
from yaml import safe_load

from pipeline.ending import REPORT, begin, last_words
from pipeline.errors import FailedCells, MissingUpstream, UserError
from pipeline.help import asks_for_a_page


def ended(error: BaseException) -> int:
    with pytest.raises(SystemExit) as caught, last_words():
        raise error
    return caught.value.code


def test_what_a_user_can_act_on_is_one_sentence(capsys):
    assert ended(UserError("seed=-1 is below 0.")) == 2
    assert capsys.readouterr().err == "\nerror: seed=-1 is below 0.\n"


def test_the_log_of_a_command_holds_its_last_words_too(tmp_path, capsys):
    handler = logging.FileHandler(tmp_path / "run.log")
    logging.getLogger().addHandler(handler)
    try:
        ended(UserError("seed=-1 is below 0."))
        ended(ZeroDivisionError("division by zero"))
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
    log = (tmp_path / "run.log").read_text()
    assert log.startswith("error: seed=-1 is below 0.\nTraceback") and log.endswith(f"division by zero\n{REPORT}\n")


def test_our_own_fault_keeps_its_traceback_and_says_where_to_report_it(capsys):
    assert ended(ZeroDivisionError("division by zero")) == 1
    said = capsys.readouterr().err
    assert said.startswith("Traceback") and "ZeroDivisionError: division by zero" in said and REPORT in said


def test_a_fault_of_ours_in_a_cell_of_a_report_is_still_ours(capsys):
    lacking = MissingUpstream("report needs every cell.")
    lacking.__cause__ = ZeroDivisionError("division by zero")
    assert ended(lacking) == 1
    said = capsys.readouterr().err
    assert (
        "ZeroDivisionError: division by zero" in said and "error: report needs every cell." in said and REPORT in said
    )
    for kind, code in ((MissingUpstream, 2), (FailedCells, 1)):
        lacking = kind("report needs every cell.")
        lacking.__cause__ = UserError("the run diverged.")
        assert ended(lacking) == code
        assert REPORT not in capsys.readouterr().err


def test_an_interrupt_says_that_nothing_is_lost_and_a_second_one_ends_at_once(capsys):
    before = signal.getsignal(signal.SIGINT)
    try:
        assert ended(KeyboardInterrupt()) == 130
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL, "no traceback of a second one"
    finally:
        signal.signal(signal.SIGINT, before)
    assert "nothing finished is lost; the same command continues" in capsys.readouterr().err


def test_a_job_that_its_launcher_lost_is_no_fault_of_ours(capsys):
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    assert ended(TerminatedWorkerError("A worker was killed.\nMore lines.")) == 2
    assert "error: A job of the sweep ended without a result: A worker was killed." in capsys.readouterr().err


def test_a_good_end_stays_silent(capsys):
    with last_words():
        pass
    assert capsys.readouterr().err == ""


def test_words_that_hydra_or_yaml_cannot_read_are_a_users(capsys):
    assert ended(OverrideParseException("report.title=a: b", "extraneous input ':'\nSee https://hydra.cc")) == 2
    assert "report.title='a: b'" in capsys.readouterr().err
    try:
        safe_load("a: [1")
    except Exception as error:
        assert ended(error) == 2
    assert "line 1, is not valid YAML" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sead=3"], "Unrecognized arguments: --sead=3; .*--hydra-help"),
        (["--config-name"], "expected one argument"),
        (["seed=1", "-cd", "x", "seed=2"], "flags come before or after all settings"),
    ],
)
def test_flags_that_hydra_has_not_are_refused_in_one_sentence(arguments, words, monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with pytest.raises(UserError, match=words):
        begin(arguments)


def test_an_output_that_nobody_reads_is_no_fault_of_ours(monkeypatch, capsys):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        with pytest.raises(SystemExit) as stopped, last_words():
            print("a long list", file=output, flush=True)
    assert stopped.value.code == 2 and capsys.readouterr().err.startswith("\nerror: Nobody reads the output any more")


def test_a_list_is_cut_quietly_and_a_deletion_never():
    assert asks_for_a_page(["stage=gc"]) and asks_for_a_page(["stage=verify", "data=parabola"])
    assert not asks_for_a_page(["stage=gc", "gc_delete=true"])
