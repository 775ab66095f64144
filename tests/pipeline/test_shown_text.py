"""No password and no control character of a stranger's text is shown or stored."""

import json
import logging
import subprocess
import sys

import pytest

from pipeline.engine.build import construction
from pipeline.engine.cells import compose_run
from pipeline.engine.graph import Graph
from pipeline.engine.status import show_status
from pipeline.entry import execute
from pipeline.errors import UserError
from pipeline.machine.progress import say
from pipeline.machine.provenance import provenance
from pipeline.shown_text import HIDDEN, masked, masked_overrides, shown, typed, visible
from tests.pipeline.test_store import ROOT, puller, run_config
from tests.pipeline.toy_stages import install

PASSWORD = "open-sesame"
URI = f"http://alice:{PASSWORD}@tracker.example:5000"


@pytest.mark.parametrize(
    "text",
    [
        URI,
        f"logging.uri='{URI}'",
        f"postgresql+psycopg2://u:{PASSWORD}@db/mlflow",
        f"https://host/x?api_key={PASSWORD}&n=1",
        f"+service.token='{PASSWORD}'",
        json.dumps({"password": PASSWORD, "n": 1}),
        f"Authorization: Bearer {PASSWORD}",
        "hf_opensesame and ghp_opensesameopensesame",
    ],
)
def test_a_password_is_replaced(text):
    found = masked(text)
    assert "sesame" not in found and HIDDEN in found
    assert masked(found) == found


@pytest.mark.parametrize(
    "text",
    [
        "http://host:5000/path?x=1, mail a@b",
        "ssh://git@host/x",
        "model.tokenizer=gpt2 max_tokens=3 pad_token=x",
        "sqlite:///mlflow.db",
        "data.class_names=[cat,dog] token count: 5",
    ],
)
def test_what_is_no_password_stays(text):
    assert masked(text) == text


def test_a_variable_that_holds_a_password_is_hidden_wherever_its_value_is(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    monkeypatch.setenv("SHORT_TOKEN", "cat")
    assert masked("key 0123456789abcdef of a cat") == f"key {HIDDEN} of a cat"
    overrides = ["data=parabola", "stage=prepare", "experiment_name=study-0123456789abcdef"]
    with pytest.raises(UserError, match="experiment_name holds the value of the environment variable WANDB_API_KEY"):
        execute(compose_run(tuple(overrides)), overrides)


def test_an_override_with_a_telling_name_is_hidden_whole():
    assert masked_overrides(["+service.api_key=[a, b]", "seed=3"]) == [f"+service.api_key={HIDDEN}", "seed=3"]


def test_characters_that_steer_a_terminal_are_escaped():
    assert visible("a\x1b[2J\x07\x9b\u202eb\r") == r"a\x1b[2J\x07\x9b\u202eb\r"
    assert visible("two\nlines\tand \u732b \U0001f431") == "two\nlines\tand \u732b \U0001f431"
    assert visible("\udcc3").isascii()


def test_messages_of_errors_and_progress_are_clean(capsys):
    assert str(UserError(f"{URI} \x1b[2J")) == f"http://alice:{HIDDEN}@tracker.example:5000 \\x1b[2J"
    say(f"class \x1b]0;owned\x07 {URI}")
    assert PASSWORD not in (said := capsys.readouterr().err) and "\x1b" not in said


def test_a_closed_window_stops_no_work(monkeypatch):
    def closed(*_: object, **__: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", closed)
    say("nobody reads this")


def test_no_record_of_an_artifact_holds_a_password(tmp_path, monkeypatch):
    install(monkeypatch)
    maker = puller(tmp_path)
    maker.graph = Graph([f"logging.uri={URI}", f"+service.token={PASSWORD}"])
    node = maker.graph.resolve("draw", run_config())
    with pytest.raises(RuntimeError), construction(node, maker.graph, maker.store, inputs={}):
        raise RuntimeError(f"{URI} does not answer")
    assert list(tmp_path.rglob("failed.json"))
    maker.pull(node)
    held = [path for path in tmp_path.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]
    assert not held and HIDDEN in node.command


def test_only_named_variables_of_the_environment_are_kept(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_JOB_SECRET", PASSWORD)
    assert provenance("command", 1.0, 0.5)["slurm"] == {"SLURM_JOB_ID": "7"}


@pytest.mark.parametrize("columns", ["0", "1", "20", None])
def test_status_is_whole_at_any_width_and_with_any_name(tmp_path, monkeypatch, capsys, columns):
    install(monkeypatch)
    if columns is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", columns)
    config = run_config(wants=["draw"], cells={"seed": [0]})
    config.experiment_name = "[/red] [bold" + "n" * 100
    config.data.name = "[/x]\x1b[2J"
    maker = puller(tmp_path)
    show_status(maker.graph, maker.store, config)
    text = capsys.readouterr().out
    column = "".join(line.split("│")[2].strip() for line in text.splitlines() if line.count("│") > 3)
    assert "\x1b" not in text and r"[_x]\x1b[2J-none" in column
    assert "[/red][bold" + "n" * 100 in "".join(text.split()), "the title"
    assert "[_red][bold" + "n" * 100 in column.replace(" ", ""), "the folder"
    assert maker.graph.resolve("draw", config).key in column


def test_help_into_a_closed_pipe_ends_without_a_traceback():
    command = f"'{sys.executable}' run.py --help | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.startswith("seedscope") and not done.stderr


def test_settings_are_utf8_in_every_locale():
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "run.py", "experiment_name='stüdy-猫'", "--cfg", "job", "--package", "experiment_name"]
    done = subprocess.run(command, cwd=ROOT, env={"PATH": "/usr/bin:/bin", **locale}, capture_output=True)
    said = done.stdout.decode("ascii", "backslashreplace")
    assert done.returncode == 0, done.stderr
    wanted = "stüdy-猫".encode()
    assert wanted in done.stdout or r"st\xfcdy-\u732b" in said


def test_a_log_of_a_failed_job_is_clean(caplog):
    from hydra.core.utils import JobReturn, JobStatus

    from pipeline.hydra_callbacks import FailureLog

    job = JobReturn(status=JobStatus.FAILED, _return_value=ValueError(f"\x1b[2J {URI}"))
    with caplog.at_level(logging.ERROR):
        FailureLog().on_job_end(None, job)
    assert "\x1b" not in caplog.text and PASSWORD not in caplog.text and "ValueError" in caplog.text
    assert shown(caplog.text) == caplog.text


def test_hydras_own_records_of_a_command_never_hold_a_password(tmp_path, monkeypatch):
    from hydra.core import utils
    from omegaconf import OmegaConf

    import pipeline.hydra_callbacks  # noqa: F401  (as Hydra does before it writes anything)

    config = OmegaConf.create({"task": [f"logging.uri='{URI}'"], "job": {"WANDB_API_KEY": PASSWORD, "kept": "${x}"}})
    utils._save_config(config, "overrides.yaml", tmp_path / ".hydra")
    OmegaConf.save(config, tmp_path / "multirun.yaml")
    for record in (tmp_path / ".hydra" / "overrides.yaml", tmp_path / "multirun.yaml"):
        text = record.read_text(encoding="utf-8")
        assert PASSWORD not in text and "alice:***@" in text and "WANDB_API_KEY: ***" in text and "${x}" in text
    assert config.job.WANDB_API_KEY == PASSWORD


def test_hydras_list_of_jobs_shows_no_password(caplog):
    import pipeline.hydra_callbacks  # noqa: F401

    with caplog.at_level(logging.INFO):
        logging.getLogger("hydra._internal.core_plugins.basic_launcher").info("#%d : logging.uri=%s", 0, URI)
    assert PASSWORD not in caplog.text and "alice:***@" in caplog.text


def test_a_cluster_launcher_is_handed_no_password():
    from pipeline.hydra_callbacks import password_problem

    cluster = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"
    settings = "hydra:\n  overrides:\n  - seed=0,1\n  - logging.uri={}\nlogging:\n  uri: {}\n"
    refusal = password_problem(cluster, settings.format(URI, URI))
    assert refusal is not None and PASSWORD not in refusal and "${oc.env:MLFLOW_TRACKING_URI}" in refusal
    named = "${oc.env:MLFLOW_TRACKING_URI}"
    assert password_problem(cluster, settings.format(named, named)) is None
    assert password_problem("hydra_plugins.hydra_joblib_launcher.JoblibLauncher", settings.format(URI, URI)) is None


def test_the_token_of_a_planted_trigger_is_no_password():
    word = "data.poison.options.token=cf"
    assert [masked(word)] == masked_overrides([word]) == [word]


@pytest.mark.parametrize("unseen", ["\u200b", "\u2060", "\ufeff", "\u180e", "\U000e0041"])
def test_characters_that_nobody_sees_are_shown_and_letters_stay_joined(unseen):
    assert visible(f"a{unseen}b") == "a" + unseen.encode("unicode_escape").decode() + "b"
    assert visible("می\u200cخواهم") == "می\u200cخواهم"


def test_a_printed_command_names_the_script_as_it_was_typed(monkeypatch, capsys):
    command = "python run.py experiment=quickstart stage=status"
    for script, found in (
        ("run.py", command),
        ("../run.py", "python ../run.py experiment=quickstart stage=status"),
        ("/my tools/run.py", "python '/my tools/run.py' experiment=quickstart stage=status"),
        ("/usr/bin/pytest", command),
    ):
        monkeypatch.setattr(sys, "argv", [script])
        say(f"again: {command}")
        assert typed(command) == found and capsys.readouterr().err == f"again: {found}\n"
