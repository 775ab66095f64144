"""Every experiment composes; a mistake is refused before anything starts, in one sentence."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.checks.general import check
from pipeline.config.data import DataConfig
from pipeline.engine.cells import compose_run, expand
from pipeline.engine.freeze import updated_table
from pipeline.engine.graph import Graph
from pipeline.engine.keys import TABLE
from pipeline.engine.plan import every_node
from pipeline.engine.scale import published_block
from pipeline.engine.stages import SOURCE, VIEW
from pipeline.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENTS = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))
GROUPS = sorted(
    path.name for path in (ROOT / "conf").iterdir() if path.is_dir() and path.name not in ("experiment", "hydra")
)


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("debug", [(), ("debug=tiny",)], ids=["full", "tiny"])
def test_every_experiment_composes(name, debug):
    config = compose_run((f"experiment={name}", *debug))
    check(config)
    assert config.experiment_name == name, "experiment_name is the file's name"
    assert config.report.title and config.wants
    assert config.report.question or config.experiment_name == "own", "an own study is asked what its answer answers"
    assert config.report.answers.partition(".")[0] in config.wants, "some stage's headline answers the question"
    if not debug:  # the tests that run every experiment at debug=tiny compose its cells as well
        for cell in expand(config, (f"experiment={name}",), compose_run):
            check(cell.config)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_composes_at_its_published_setting(name):
    block = published_block(name)
    if block["kind"] == "ours":
        with pytest.raises(UserError, match="leave scale=published out"):
            compose_run((f"experiment={name}", "scale=published"))
        return
    # its cells are those of the small setting, which are all composed above
    check(compose_run((f"experiment={block.get('experiment', name)}", "scale=published")))


@pytest.mark.parametrize("group", GROUPS)
def test_every_choice_of_every_group_composes(group):
    assert choices(group), f"conf/{group} is empty"
    for choice in choices(group):
        compose_run((f"{group}={choice}",))


def test_the_table_of_defaults_is_up_to_date():
    table = json.loads(TABLE.read_text())
    assert updated_table(table) == table, "run `python -m pipeline.engine.freeze` and commit key_defaults.json"


def test_every_data_field_is_located_by_identity_or_hashed():
    located = {"hub", "packaged", "path", "synthetic", "reference", "sample"}  # the last two fill in path
    hashed = {dotted.split(".")[1] for dotted in (*SOURCE, *VIEW)}
    assert set(DataConfig.__dataclass_fields__) == located | hashed


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("seed=-1",), "seed=-1 is below 0"),
        (
            ("hardware.devices=2", "hardware.tasks_per_node=2"),
            "hardware.devices=2 but numerics.world_size=1; leave devices",
        ),
        (("hardware.tasks_per_node=4",), "hardware.tasks_per_node=4 but hardware.devices=1; a job starts one rank per"),
        (("model=gpt2_tiny",), "reads texts, but data=fashion_mnist holds image rows"),
        (("data=tweets", "model=resnet18"), "reads images, but data=.* holds text rows"),
        (("stage=trian",), "There is no stage 'trian'"),
        (("training.optimizer=sdg",), "training.optimizer=sdg is not one of"),
        (("training.epochs=0",), "training.epochs=0 is below 1"),
        (("training.label_smoothing=0.1", "training.loss=bce", "model.outputs=1"), "needs training.loss=cross_entropy"),
        (("data.split.val=1.0",), r"data.split.val=1.0 is not in \[0, 1\)"),
        (("wants=[kernell]",), "wants holds 'kernell'"),
        (("wants=[train,prepare]",), "wants holds 'prepare'"),
        (("snapshots.record=[spectrum]",), r"snapshots.record holds \['spectrum'\]"),
        (("+cells.seed='range(0,8)'",), "write 'start:stop'"),
    ],
)
def test_impossible_combinations_are_refused_in_one_sentence(overrides, words):
    with pytest.raises(UserError, match=words) as caught:
        check(compose_run(overrides))
    assert len(str(caught.value).splitlines()) == 1


def test_a_report_may_gather_what_no_section_shows():
    check(compose_run(("wants=[train,prepare]", "report.sections=[train]")))


def test_noise_spectra_can_be_left_out():
    check(compose_run(("spectra.null_draws=0", "toy.null_draws=0")))


@pytest.mark.parametrize(
    ("override", "words"),
    [("model.widht=3", "widht"), ("training.epochs=ten", "ten"), ("experiment=nope", "nope"), ("data=nope", "nope")],
)
def test_unknown_keys_wrong_types_and_unknown_choices_fail_at_composition(override, words):
    with pytest.raises(UserError, match=words):
        compose_run((override,))


def test_a_pipeline_started_once_per_rank_is_refused(monkeypatch):
    config = compose_run(("numerics.world_size=2",))
    check(config)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    with pytest.raises(UserError, match="one of several started by srun or torchrun"):
        check(config)


def test_seed_zero_is_a_seed_and_streams_follow_it():
    zero, one = compose_run(("seed=0",)), compose_run(("seed=1",))
    assert zero.streams.init == 0 and one.streams.init == one.streams.order == 1
    varied = compose_run(("seed=1", "seeds.order=7"))
    assert (varied.streams.init, varied.streams.order) == (1, 7)
    assert len({Graph().resolve("train", config).key for config in (zero, one, varied)}) == 3


def test_cells_cross_their_axes_and_share_what_does_not_depend_on_them():
    axis = 'cells.kernel=[["kernel=pntk"],["kernel=trntk"]]'
    overrides = ("experiment=quickstart", "~cells.model", axis, "cells.seed='0:2'")
    config = compose_run(overrides)
    graph = Graph(overrides)
    assert len(graph.cells(config)) == 4
    nodes = list(every_node(graph.resolve("report", config)))
    count = {
        name: sum(node.stage.name == name for node in nodes) for name in ("prepare", "train", "kernel", "surrogate")
    }
    assert count == {"prepare": 1, "train": 2, "kernel": 4, "surrogate": 4}
    report = graph.resolve("report", config)
    assert [member.labels for member in report.members["train"]] == [{"seed": "0"}, {"seed": "1"}]


def test_addresses_do_not_drift():
    """Literal keys: they change only with a stage's VERSION, or every stored artifact is lost."""
    frozen = json.loads((Path(__file__).with_name("frozen_keys.json")).read_text())
    graph = Graph()
    for name, (stage, overrides, key) in frozen.items():
        assert graph.resolve(stage, compose_run(tuple(overrides))).key == key, name


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"], ["stage=status", "experiment=quickstart"]])
def test_the_command_line_answers_without_importing_torch(arguments):
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['run.py', *{arguments!r}]\n"
        "try:\n    runpy.run_path('run.py', run_name='__main__')\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "print('torch' in sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip().splitlines()[-1] == "False"
    assert done.stdout


def test_several_tasks_per_job_are_refused_before_a_sweep_starts():
    from pipeline.hydra_callbacks import launcher_problem

    assert launcher_problem(None, 1) is None and launcher_problem(1, 4) is None
    assert "hydra.launcher.tasks_per_node=4 is impossible" in launcher_problem(4, 1)
    command = [sys.executable, "run.py", "-m", "hardware=slurm_cpu", "hydra.launcher.tasks_per_node=2", "seed=0,1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "tasks_per_node=2 is impossible" in done.stderr, done.stderr
