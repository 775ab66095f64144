"""Runs of a report grouped by everything but the seed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from analysis.verdicts import Claim
from pipeline.engine.build import Gathered


def group_label(labels: dict[str, str]) -> str:
    """Name a group of cells by every axis but the seed."""
    return ", ".join(value for axis, value in labels.items() if axis != "seed") or "all cells"


def grouped(members: Iterable[Gathered]) -> dict[str, list[Gathered]]:
    """Collect cells that differ in nothing but the seed, in the order of the axes."""
    groups: dict[str, list[Gathered]] = {}
    for member in members:
        groups.setdefault(group_label(member.labels), []).append(member)
    return groups


def keys_of(group: Iterable[Gathered]) -> list[str]:
    """Name the artifacts of a group."""
    return [member.artifact.key for member in group]


def about(group: Iterable[Gathered], claims: Iterable[Claim]) -> list[Claim]:
    """Lead from claims to the artifacts of the group that they are about."""
    keys = keys_of(group)
    return [replace(claim, keys=keys) for claim in claims]


def seeds_of(group: Iterable[Gathered]) -> list[str]:
    """Name the seeds of a group; a run without one by its place."""
    return [member.labels.get("seed", str(place)) for place, member in enumerate(group)]
