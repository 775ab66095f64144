"""A cell is exactly the run that its printed command composes, whatever the seeds are."""

import dataclasses
import functools

import pytest

from pipeline.engine.cells import compose_run, without_hardware
from pipeline.engine.graph import Graph
from pipeline.engine.plan import every_node
from pipeline.engine.seed_blocks import block_of, members_of
from pipeline.training.networks import build_network
from tests.pipeline.training_cases import Blobs

composed = functools.cache(compose_run)
MODEL = ("model=mlp", "model.widths=[4]")


def trained(*words: str):
    """Networks of a study, each with the key and the configuration that its own command gives."""
    graph = Graph(words, composed)
    cells = graph.cells(composed(words))
    nodes = [graph.resolve("train", cell.config, cell.overrides) for cell in cells]
    alone = [composed(cell.overrides) for cell in cells]
    return nodes, [Graph(cell.overrides).resolve("train", config) for cell, config in zip(cells, alone, strict=True)]


def test_a_stream_that_is_held_fixed_stays_fixed_also_at_one_of_the_seeds():
    nodes, alone = trained(*MODEL, "+cells.seed='0:2'", "seeds.init=0")
    assert [node.config.streams.init for node in nodes] == [0, 0]
    assert [node.config.streams.order for node in nodes] == [0, 1]
    assert [node.key for node in nodes] == [node.key for node in alone]
    first, second = (build_network(node.config, Blobs()).state_dict() for node in nodes)
    assert all(value.equal(second[name]) for name, value in first.items())


def test_a_study_does_not_depend_on_a_seed_that_its_cells_replace():
    study = ("+cells.seed='0:2'", "wants=[train]", "seeds.init=0", "seeds.order=null")
    keys = {Graph(all_).resolve("report", composed(all_)).key for all_ in (study, (*study, "seed=3"))}
    assert len(keys) == 1


def test_a_fixed_stream_and_a_following_one_of_the_same_number_are_one_network():
    fixed, following = composed(("seeds.init=0",)), composed(())
    assert Graph().resolve("train", fixed).key == Graph().resolve("train", following).key
    assert fixed.seeds != following.seeds


def test_other_seeds_of_a_run_keep_its_fixed_streams():
    config = composed(("seeds.init=0", "adversarial.other=4"))
    other = Graph().resolve("adversarial", config).inputs["other"].config
    assert (other.streams.init, other.streams.order) == (0, 4)


def test_a_block_of_seeds_keeps_a_stream_that_is_fixed_at_one_of_them():
    config = composed(("numerics.engine=ensemble", "ensemble.block=2", "seeds.init=0"))
    assert [(one.streams.init, one.streams.order) for one in members_of(block_of(config))] == [(0, 0), (0, 1)]
    alone = dataclasses.replace(config, seed=5, ensemble=dataclasses.replace(config.ensemble, varying=[]))
    assert [one.streams.order for one in members_of(block_of(alone))] == [5], "a block of its own keeps its numbers"


def test_a_setting_that_a_file_ties_to_the_seed_follows_it_in_every_cell():
    nodes, alone = trained("+cells.seed='0:2'", "training.attack.seed=${seed}", "data.data_seed=${seed}")
    assert [node.config.training.attack.seed for node in nodes] == [0, 1]
    assert [node.config.data.data_seed for node in nodes] == [0, 1]
    assert [node.key for node in nodes] == [node.key for node in alone]


TEXTS = ("experiment=shift_tweets", "cells={}", "shift.rivals=[fine_tuned,head_only,random_weights]")
IMAGES = ("experiment=pntk_adversarial", "cells={}", "seeds.init=0", "attribution.method=tracin")


@pytest.mark.parametrize(("stage", "words"), [("shift", TEXTS), ("adversarial", IMAGES), ("attribution", IMAGES)])
def test_the_command_of_every_artifact_makes_that_very_artifact(stage, words):
    nodes = list(every_node(Graph(words).resolve(stage, composed(words))))
    for node in nodes:
        again = Graph(node.overrides).resolve(node.stage.name, composed(node.overrides))
        assert again.key == node.key, node.command
    assert len({node.overrides for node in nodes}) > 1


def test_hardware_that_chooses_arithmetic_is_said_in_settings_of_the_run():
    words = ("experiment=quickstart", "hardware=slurm_gpu", "hardware.job_minutes=2", "seed=3")
    config = compose_run(words)
    plain = without_hardware(words, config)
    assert plain == ["experiment=quickstart", "seed=3", "numerics.device=cuda"]
    assert compose_run(tuple(plain)).numerics == config.numerics
    assert without_hardware(words[:1], config) == ["experiment=quickstart"]
