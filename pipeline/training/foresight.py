"""What later stages of the same command would refuse about a network and its rows, asked before hours of training."""

from __future__ import annotations

import torch

from pipeline.data.datamodule import DataModule
from pipeline.engine.build import Build
from pipeline.engine.stages import STAGES, load_function
from pipeline.training.networks import build_network


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
    asked = [
        (function, config)
        for name, config in build.later
        if (function := STAGES[name].foresees) is not None
        and (STAGES[name].gathers is not None or config.model == build.config.model)
    ]
    if not asked:
        return
    with torch.random.fork_rng(devices=[]):
        network = build_network(build.config, data).eval()
        for function, config in asked:
            load_function(function)(config, data, network)
