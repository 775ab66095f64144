"""Runs of a report grouped by everything but the seed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from analysis.verdicts import Claim
from pipeline.engine.build import Gathered
from pipeline.shown_text import label_words

ALL = "all runs"
"""What pages call the group of a study that has no other."""
SHARED = "several groups"
"""What pages call runs that several groups share, beside others that belong to one."""
_ALL_LABEL = "all cells"


def group_label(labels: dict[str, str]) -> str:
    """Label a group of cells by every axis but the seed, as files have it."""
    return ", ".join(value for axis, value in labels.items() if axis != "seed") or _ALL_LABEL


def group_names(labels: Iterable[str]) -> dict[str, str]:
    """Name groups as pages have them, in words; by their labels where words would not tell them apart.

    Examples
    --------
    >>> group_names(["mlp", "resnet18, model.width=8"])
    {'mlp': 'mlp', 'resnet18, model.width=8': 'resnet18, width 8'}
    >>> group_names(["all cells"]), group_names(["all cells", "frozen"])
    ({'all cells': 'all runs'}, {'all cells': 'several groups', 'frozen': 'frozen'})
    >>> group_names(["mlp, training.lr=0.1", "mlp, pretrain.lr=0.1"])["mlp, training.lr=0.1"]
    'mlp, training.lr=0.1'
    """
    labels = list(labels)
    whole = ALL if len(labels) == 1 else SHARED
    names = {label: whole if label == _ALL_LABEL else label_words(label) for label in labels}
    return names if len({*names.values()}) == len(names) else {label: label for label in names}


def grouped(members: Iterable[Gathered]) -> dict[str, list[Gathered]]:
    """Collect cells that differ in nothing but the seed, in the order of the axes, by the name of their group."""
    groups = grouped_by_label(members)
    names = group_names(groups)
    return {names[label]: group for label, group in groups.items()}


def grouped_by_label(members: Iterable[Gathered]) -> dict[str, list[Gathered]]:
    """Collect the same by labels, for what is written into files."""
    groups: dict[str, list[Gathered]] = {}
    for member in members:
        groups.setdefault(group_label(member.labels), []).append(member)
    return groups


def keys_of(group: Iterable[Gathered]) -> list[str]:
    """Name the artifacts of a group."""
    return [member.artifact.key for member in group]


def about(group: list[Gathered], claims: Iterable[Claim], paper: str) -> list[Claim]:
    """Lead from a paper's claims to the artifacts of the group that they are about.

    A report that does not follow the paper (``report.study``) says nothing about them.
    """
    if paper not in group[0].config.report.study:
        return []
    keys = keys_of(group)
    return [replace(claim, keys=keys) for claim in claims]


def seeds_of(group: Iterable[Gathered]) -> list[str]:
    """Name the seeds of a group; a run without one by its place."""
    return [member.labels.get("seed", str(place)) for place, member in enumerate(group)]
