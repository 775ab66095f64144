"""Cells and printed commands are composed from the same files as the command."""

import dataclasses
import shlex
import subprocess
from functools import cache

import pytest

from pipeline.engine.cells import compose_run, overrides_between, with_seed
from pipeline.engine.composition.command_words import command_words, shell_word
from pipeline.engine.graph import Graph
from pipeline.engine.plan import every_node

STUDY = """\
defaults:
  - config
  - override model: resnet18
  - _self_
model: {width: 3}
wants: [train]
cells: {lr: [[training.lr=0.1], [training.lr=0.01]]}
"""
EXPERIMENT = "# @package _global_\nexperiment_name: mine\nwants: [train]\ncells: {lr: [[training.lr=0.1]]}\n"


@pytest.fixture
def own(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "small.yaml").write_text(STUDY)
    (tmp_path / "experiment" / "mine.yaml").write_text(EXPERIMENT)
    return tmp_path


def flags(own, kind):
    return {
        "dir and name": (f"--config-dir={own}", "--config-name=small"),
        "dir": (f"--config-dir={own}", "experiment=mine"),
        "search path": (f"hydra.searchpath=['file://{own}']", "experiment=mine"),
    }[kind]


@pytest.mark.parametrize("kind", ["dir and name", "dir", "search path"])
def test_own_files_hold_for_cells_and_for_the_commands_that_are_shown(own, kind):
    words = flags(own, kind)
    config = compose_run(words)
    nodes = [node for node in every_node(Graph(words).resolve("report", config)) if node.stage.name == "train"]
    assert len(nodes) == len(config.cells["lr"])
    for node in nodes:
        assert node.config.model == config.model
        pasted = shlex.split(node.command)[2:]
        again = Graph(pasted).resolve("train", compose_run(tuple(pasted)))
        assert again.key == node.key, node.command


def test_what_an_experiment_says_of_the_first_page_is_taken(own):
    """Its stage, seed and fixed streams come after the defaults of config.yaml, which used to win in silence."""
    (own / "experiment" / "fixed.yaml").write_text("# @package _global_\nstage: train\nseed: 3\nseeds: {init: 0}\n")
    config = compose_run((f"--config-dir={own}", "experiment=fixed"))
    assert (config.stage, config.seed, config.streams.init, config.streams.order) == ("train", 3, 0, 3)
    assert compose_run((f"--config-dir={own}", "experiment=fixed", "seed=5")).seed == 5, "a typed word wins"


def test_a_job_of_a_sweep_knows_how_it_was_composed(own, tmp_path):
    from hydra import compose, initialize_config_dir
    from hydra.conf import ConfigSourceInfo
    from hydra.core.global_hydra import GlobalHydra

    from pipeline.engine.scale import CONF

    with initialize_config_dir(str(CONF), version_base="1.3"):
        search_path = f"hydra.searchpath=[file://{own}]"
        job = compose("config", [search_path, "experiment=mine", "seed=3"], return_hydra_config=True).hydra
        assert command_words(job) == [search_path, "experiment=mine", "seed=3"]
        job.job.config_name = "small"
        job.runtime.config_sources.append(ConfigSourceInfo(str(own), "file", "command-line"))
        job.runtime.cwd = str(own.parent)
        assert command_words(job)[:2] == [f"--config-dir={own.name}", "--config-name=small"]
    assert not GlobalHydra.instance().is_initialized()


@pytest.mark.parametrize(
    "words",
    [
        ("data=tweets", "model=gpt2_tiny", "weights.step=3", "shift.rivals=[head_only,random_weights]", "stage=shift"),
        ("stage=attribution", "seeds.order=2", "attribution.methods=[trak,tracin]", "attribution.other_seeds=[4]",
         "attribution.checkpoints=[5,-1]"),
        ("stage=kernel", "pretrain.classes=[0,1]", "numerics.engine=ensemble", "seed=7"),
    ],
)  # fmt: skip
def test_the_command_of_everything_upstream_makes_just_that(words):
    config, composed = compose_run(words), cache(compose_run)
    for node in every_node(Graph(words).resolve(config.stage, config)):
        pasted = tuple(shlex.split(node.command)[2:])
        again = composed(tuple(word for word in pasted if not word.startswith("stage=")))
        assert pasted[-1] == f"stage={node.stage.name}"
        assert Graph(pasted).resolve(node.stage.name, again).key == node.key, node.command


def test_an_override_gives_back_the_value_that_it_was_written_from():
    config = compose_run(())
    odd = ["it's \\ x", "a\\", "\\\\", "", ": [y] {z}", "ü", "a\nb", 'q"q', "3", "null", "x=y", "True", "1e3"]
    report = dataclasses.replace(config.report, title=odd[0], options={"k": odd, "n": [1, None, True, 0.5]})
    changed = dataclasses.replace(config, report=report)
    assert compose_run(overrides_between(config, changed)).report == report


def test_another_seed_is_one_word():
    config = compose_run(())
    assert list(overrides_between(config, with_seed(config, 4))) == ["seed=4"]


def test_a_shell_does_exactly_what_is_shown(tmp_path):
    marker = tmp_path / "ran"
    words = [
        f"paths.store=/tmp/a$(touch {marker})", f"x=`touch {marker}`", f"name='x'; touch {marker}; '", "x=!history",
        f"title=\"a\" && touch {marker}", f"x=\\'; touch {marker}; \\'", f"a='b'\n touch {marker}", "x=~/y", "x=*",
        "a#b", "x='a, b'", "x=\"it's\"", "x=a;b|c>d", "x=$HOME", "x='$HOME'", "x=\\n", "x=ü", "", "x=", "a\tb", "'!'",
        "paths.store='/my store [1], é'",
    ]  # fmt: skip
    shown = " ".join(shell_word(word) for word in words)
    got = subprocess.run(["bash", "-c", f"printf '%s\\0' {shown}"], capture_output=True, text=True, check=True)
    assert got.stdout.split("\0")[:-1] == words and not marker.exists()
