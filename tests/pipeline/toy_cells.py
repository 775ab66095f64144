"""Configurations of the toy stages."""

import dataclasses

from pipeline.config.run import RunConfig


def run_config(seed: int = 0, **changes) -> RunConfig:
    config = RunConfig(experiment_name="toy", **changes)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, name="toy"))
    return dataclasses.replace(config, seed=seed, model=dataclasses.replace(config.model, name="none"))
