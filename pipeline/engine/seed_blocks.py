"""Which runs an ensemble trains together: fixed blocks of seeds.

A run's bytes therefore do not depend on which other seeds were requested. A block is a function of the configuration
alone. Seeds 0 to 19 are one block, 20 to 39 the next; whichever of them is requested first, the same block is trained,
and every run of the block can be taken from it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from pipeline.config.run import RunConfig
from pipeline.config.training import STREAMS, SeedsConfig


def varying_streams(config: RunConfig) -> list[str]:
    """Name the random streams in which the members of a run's block differ.

    They are the streams that follow ``seed``; ``ensemble.varying`` overrides this.
    """
    if config.ensemble.varying is not None:
        return [stream for stream in STREAMS if stream in config.ensemble.varying]
    return [stream for stream in STREAMS if getattr(config.seeds, stream) is None]


def block_of(config: RunConfig) -> RunConfig:
    """Give the configuration that all runs of a block share: that of its first member, varying streams listed.

    A run in which no stream follows ``seed`` is its own block.

    Examples
    --------
    >>> from pipeline.config.run import SeedsConfig
    >>> run = RunConfig(seed=7, seeds=SeedsConfig(augment=1000))
    >>> block = block_of(run)
    >>> block.seed, block.streams.order, block.streams.augment, block.ensemble.varying
    (0, 0, 1000, ['init', 'order', 'dropout'])
    """
    varying = varying_streams(config)
    size = config.ensemble.block if varying else 1
    first = config.seed - config.seed % size if varying else 0
    ensemble = dataclasses.replace(config.ensemble, block=size, varying=varying)
    return _at(dataclasses.replace(config, ensemble=ensemble), first, varying)


def members_of(block: RunConfig) -> list[RunConfig]:
    """List the runs of a block given by :func:`block_of`, in the order of their seeds."""
    varying = varying_streams(block)
    return [_at(block, seed, varying) for seed in range(block.seed, block.seed + block.ensemble.block)]


def unwanted_members(block: RunConfig, wanted: Sequence[int]) -> str | None:
    """Say that a block trains seeds that nobody wants here, and how to train fewer; None where it trains no others.

    Examples
    --------
    >>> from pipeline.config.run import RunConfig
    >>> print(unwanted_members(block_of(RunConfig()), [0, 1, 2]))
    seeds 0 to 19 train together, of which 3 are wanted here; ensemble.block=3 trains no others
    """
    members = range(block.seed, block.seed + block.ensemble.block)
    if not varying_streams(block) or len(wanted) >= len(members):
        return None
    size = next(size for size in range(1, len(members) + 1) if len({seed // size for seed in wanted}) == 1)
    others = {0: "no others", 1: "1 other"}.get(size - len(wanted), f"{size - len(wanted)} others")
    remedy = f"; ensemble.block={size} trains {others}" if size < len(members) else ""
    return f"seeds {members[0]} to {members[-1]} train together, of which {len(wanted)} are wanted here{remedy}"


def member_seed(config: RunConfig) -> int:
    """Seed under which a run's block knows it."""
    return config.seed if varying_streams(config) else 0


def _at(config: RunConfig, seed: int, varying: list[str]) -> RunConfig:
    seeds = SeedsConfig(**{name: None if name in varying else getattr(config.streams, name) for name in STREAMS})
    return dataclasses.replace(config, seed=seed, seeds=seeds)
