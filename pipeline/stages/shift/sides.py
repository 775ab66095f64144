"""Two sides of a shift study: texts or images of a reference and a sample, their embeddings, cleaned and matched."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from analysis.shift.cues import character_ngrams, cue_features, cue_rates
from analysis.shift.image_cues import image_cue_features, image_cue_rates, pixel_columns
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
    rows : list of str, or ndarray of uint8, shape (n, c, h, w)
        Texts or images.
    labels : int ndarray, shape (n,)
        0 everywhere for rows without labels.
    ids : int ndarray, shape (n,)
    groups : ndarray of str, shape (n,), or None
        User or query of each row, where the source names one.
    """

    embeddings: np.ndarray
    rows: list[str] | np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    groups: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> Side:
        """Keep some rows."""
        groups = None if self.groups is None else self.groups[rows]
        kept = self.rows[rows] if isinstance(self.rows, np.ndarray) else [self.rows[i] for i in rows]
        return Side(self.embeddings[rows], kept, self.labels[rows], self.ids[rows], groups)

    def cues(self) -> np.ndarray:
        """Measure the surface of every row."""
        return image_cue_features(self.rows) if isinstance(self.rows, np.ndarray) else cue_features(self.rows)

    def cue_rates(self) -> dict[str, float]:
        """Give rates, or means, of the surface measures."""
        return image_cue_rates(self.rows) if isinstance(self.rows, np.ndarray) else cue_rates(self.rows)


def raw_columns(a: Side, b: Side) -> tuple[str, tuple[np.ndarray, np.ndarray]]:
    """Give the rows themselves as columns, character n-grams or pixels, and their name."""
    if isinstance(a.rows, np.ndarray) and isinstance(b.rows, np.ndarray):
        return "pixels", pixel_columns(a.rows, b.rows)
    return "character n-grams", character_ngrams(list(a.rows), list(b.rows))


class Errors(NamedTuple):
    """How often the network itself errs on the rows of a side, before they are cleaned."""

    rows: int
    errors: int


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
    own : dict of str to Errors
        Errors of the network on labeled images, by side.
    """

    reference: Side
    sample: Side
    labeled: bool
    report: dict[str, int]
    wanted: dict[int, int]
    own: dict[str, Errors]

    @property
    def images(self) -> bool:
        """Whether the rows are images."""
        return isinstance(self.reference.rows, np.ndarray)

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
        if data.kind not in ("text", "image"):
            raise UserError(f"shift reads texts and images; data={build.config.data.name} holds {data.kind} rows.")
        ids = arrays[f"{split}.ids"]
        place = {int(value): i for i, value in enumerate(view.ids)}
        places = [place[int(value)] for value in ids]
        inputs = view.inputs
        rows = inputs[places].numpy() if isinstance(inputs, torch.Tensor) else [inputs[i] for i in places]
        groups = None if view.group is None else np.array([view.group[i] for i in places])
        raw.append(
            (arrays[f"{split}.{layer}"].double().numpy(), rows, arrays[f"{split}.labels"].numpy(), ids.numpy(), groups)
        )
    labeled = all(bool((side[2] >= 0).all()) for side in raw) and data.n_classes > 1
    tags = [side[2] if labeled else np.zeros(len(side[1]), np.int64) for side in raw]
    own = _own_errors(build, arrays) if labeled and data.kind == "image" else {}
    try:
        pair = clean_pair(
            (_names(raw[0][1]), tags[0]),
            (_names(raw[1][1]), tags[1]),
            classes=range(data.n_classes) if labeled else (0,),
        )
    except ValueError as error:
        raise UserError(f"shift: {error}") from error
    reference, sample = (
        Side(values, rows, tag, ids, groups).take(kept)
        for (values, rows, _, ids, groups), tag, kept in zip(raw, tags, (pair.reference, pair.sample), strict=True)
    )
    if reference.groups is not None and sample.groups is not None:
        for split, groups in ((config.reference, reference.groups), (config.sample, sample.groups)):
            if len(np.unique(groups)) < 2:
                raise UserError(
                    f"shift moves whole groups (users, queries), and all {len(groups)} rows of {split!r} belong to "
                    f"one, {str(groups[0])!r}: nothing can be permuted. Collect rows of other groups, or leave the "
                    "group column out of the data."
                )
    return Sides(reference, sample, labeled, pair.report, _wanted(reference, sample, config.per_side), own)


def _names(rows: list[str] | np.ndarray) -> list[str]:
    """Give each row a text by which equal ones are found: itself, or a digest of its pixels."""
    if isinstance(rows, np.ndarray):
        return [hashlib.sha256(image.tobytes()).hexdigest() for image in rows]
    return rows


def _own_errors(build: Build, arrays: dict[str, torch.Tensor]) -> dict[str, Errors]:
    """Count the errors of a network that has been trained for these classes; another's decisions mean nothing."""
    if build.config.weights.source not in ("train", "path"):
        return {}
    found = {}
    for side, split in (("reference", build.config.shift.reference), ("sample", build.config.shift.sample)):
        logits, labels = arrays[f"{split}.logits"], arrays[f"{split}.labels"]
        found[side] = Errors(len(labels), int((logits.argmax(dim=1) != labels).sum()))
    return found


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
