"""Two sides of a shift study: rows, texts and embeddings of a reference and a sample, cleaned and matched."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from analysis.shift.samples import clean_pair, matched_draws
from pipeline.data.datamodule import DataModule
from pipeline.engine.build import Build
from pipeline.errors import UserError
from pipeline.stages.features.read import read_feature_tensors


@dataclass(frozen=True)
class Side:
    """Cleaned rows of one source.

    Attributes
    ----------
    embeddings : ndarray, shape (n, d)
    texts : list of str
    labels : int ndarray, shape (n,)
        0 everywhere for texts without labels.
    ids : int ndarray, shape (n,)
    groups : ndarray of str, shape (n,), or None
        User or query of each row, where the source names one.
    """

    embeddings: np.ndarray
    texts: list[str]
    labels: np.ndarray
    ids: np.ndarray
    groups: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> Side:
        """Keep some rows."""
        groups = None if self.groups is None else self.groups[rows]
        return Side(self.embeddings[rows], [self.texts[i] for i in rows], self.labels[rows], self.ids[rows], groups)


@dataclass(frozen=True)
class Sides:
    """Reference P and sample M.

    Attributes
    ----------
    reference, sample : Side
    labeled : bool
        Whether both carry classes.
    report : dict of str to int
        What cleaning left out.
    wanted : dict of int to int
        Rows of each class in every draw.
    """

    reference: Side
    sample: Side
    labeled: bool
    report: dict[str, int]
    wanted: dict[int, int]

    @property
    def size(self) -> int:
        """Rows a side of every draw."""
        return sum(self.wanted.values())

    def draw(self, generator: np.random.Generator) -> tuple[Side, Side, Side]:
        """Draw P, P' (disjoint) and M with the same class counts, uniformly over the whole of each source."""
        first, second = matched_draws(self.reference.labels, self.wanted, parts=2, generator=generator)
        (rows,) = matched_draws(self.sample.labels, self.wanted, parts=1, generator=generator)
        return self.reference.take(first), self.reference.take(second), self.sample.take(rows)


def open_sides(build: Build, data: DataModule) -> Sides:
    """Read both sides of ``shift.reference`` and ``shift.sample`` from the features, and clean them.

    Raises
    ------
    UserError
        If a split has no features, the layer is unknown, or too little is left to compare.
    """
    config, upstream = build.config.shift, build.inputs["features"]
    layers = list(upstream.metrics["layers"])
    layer = layers[0] if config.layer is None else config.layer
    if layer not in layers:
        raise UserError(f"shift.layer={layer} is not among the features' layers: {', '.join(layers)}.")
    arrays = read_feature_tensors(upstream)
    raw = []
    for split in (config.reference, config.sample):
        if f"{split}.{layer}" not in arrays:
            raise UserError(
                f"shift compares the splits {config.reference} and {config.sample}, but features.splits="
                f"{build.config.features.splits}; add {split!r} there."
            )
        view = data.split(split)
        if isinstance(view.inputs, torch.Tensor):
            raise UserError(f"shift reads texts; data={build.config.data.name} holds {data.kind} rows.")
        ids = arrays[f"{split}.ids"]
        place = {int(value): i for i, value in enumerate(view.ids)}
        texts = [view.inputs[place[int(value)]] for value in ids]
        groups = None if view.group is None else np.array([view.group[place[int(value)]] for value in ids])
        raw.append(
            (arrays[f"{split}.{layer}"].double().numpy(), texts, arrays[f"{split}.labels"].numpy(), ids.numpy(), groups)
        )
    labeled = all(bool((side[2] >= 0).all()) for side in raw) and data.n_classes > 1
    tags = [side[2] if labeled else np.zeros(len(side[1]), np.int64) for side in raw]
    try:
        pair = clean_pair(
            (raw[0][1], tags[0]), (raw[1][1], tags[1]), classes=range(data.n_classes) if labeled else (0,)
        )
    except ValueError as error:
        raise UserError(f"shift: {error}") from error
    reference, sample = (
        Side(values, texts, tag, ids, groups).take(rows)
        for (values, texts, _, ids, groups), tag, rows in zip(raw, tags, (pair.reference, pair.sample), strict=True)
    )
    if reference.groups is not None and sample.groups is not None:
        for split, groups in ((config.reference, reference.groups), (config.sample, sample.groups)):
            if len(np.unique(groups)) < 2:
                raise UserError(
                    f"shift moves whole groups (users, queries), and all {len(groups)} rows of {split!r} belong to "
                    f"one, {str(groups[0])!r}: nothing can be permuted. Collect rows of other groups, or leave the "
                    "group column out of the data."
                )
    return Sides(reference, sample, labeled, pair.report, _wanted(reference, sample, config.per_side))


def _wanted(reference: Side, sample: Side, per_side: int | None) -> dict[int, int]:
    counts = np.bincount(sample.labels)
    pool = np.bincount(reference.labels, minlength=len(counts))
    # the sample's class shares, scaled to what two disjoint draws of the reference can match
    factor = min(1.0, (per_side or len(sample.labels)) / len(sample.labels), float((pool / (2 * counts)).min()))
    wanted = {value: int(count * factor) for value, count in enumerate(counts)}
    if min(wanted.values()) < 4:
        raise UserError(
            f"shift: {len(reference.labels)} reference and {len(sample.labels)} sample rows leave {wanted} rows of "
            "each class; two disjoint draws of the reference need at least 4. Give more rows."
        )
    return wanted
