"""What later stages of the same command would refuse about a network and its rows, asked before hours of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from pipeline.config.run import RunConfig
from pipeline.data.datamodule import DataModule, open_data
from pipeline.engine.artifacts import Artifact, Store
from pipeline.engine.build import Build
from pipeline.engine.graph import Node
from pipeline.engine.plan import later_of, plan
from pipeline.engine.stages import STAGES, load_function
from pipeline.training.networks import build_network

NETWORKS = ("train", "init", "checkpoint", "derivatives")
"""Stages that make the networks which later ones read, or repeat their training."""


def refuse_unfit_network(build: Build, data: DataModule) -> None:
    """Ask each stage that will read this network whether it can: a few rows pass through an untrained one.

    Stages that do not know such a network, because their configuration names another, are not asked. A network of its
    own is built for that, and no random state moves, so that the training is the same with and without.

    Parameters
    ----------
    build : Build
        Of the weights; ``build.later`` says what will read them.
    data : DataModule
        The rows of the run.

    Raises
    ------
    UserError
        As the stage itself would raise it.
    """
    _ask(build.config, build.later, data)


def refuse_before_jobs(target: Node, store: Store) -> None:
    """Ask the same before jobs of a cluster are submitted, since a job knows of no later stage.

    Asked is about every network that is going to be made and whose rows are in the store; seeds are not told apart.

    Parameters
    ----------
    target : Node
        What is asked for.
    store : Store
        Where artifacts live.

    Raises
    ------
    UserError
        As the stage itself would raise it.
    """
    todo = plan(target, store, lambda node: True).todo
    later, asked = later_of(todo), set[str]()
    for node in todo:
        rows = node.inputs.get("data")
        if node.stage.name not in NETWORKS or node.key not in later or rows is None:
            continue
        folder, network = store.folder(*rows.address), repr(replace(node.config, seed=0))
        if network in asked or not folder.exists():
            continue
        asked.add(network)
        _ask(node.config, later[node.key], open_data(node.config, Artifact(folder)))


def _ask(config: RunConfig, later: Sequence[tuple[str, RunConfig]], data: DataModule) -> None:
    asked = [
        (function, one)
        for name, one in later
        if (function := STAGES[name].foresees) is not None
        and (STAGES[name].gathers is not None or one.model == config.model)
    ]
    if not asked:
        return
    with torch.random.fork_rng(devices=[]):
        network = build_network(config, data).eval()
        for function, one in asked:
            load_function(function)(one, data, network)
