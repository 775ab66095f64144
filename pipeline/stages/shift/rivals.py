"""Rivals of the probe trained on P: fine-tuning, a trained head, random features, a network without pre-training."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from analysis.shift.probe_fits import guessed, probe_scores, random_fourier_features
from pipeline.engine.build import Build
from pipeline.stages.features.read import read_feature_arrays
from pipeline.stages.shift.sides import Sides
from pipeline.stages.train.read import read_final_outputs

WIDTH = 1024
"""Random Fourier features."""


def rival_guesses(build: Build, sides: Sides, *, size: int) -> dict[str, Int[np.ndarray, " m"]]:
    """Predict the class of every row of M by each model of ``shift.rivals``, none of which saw a row of M.

    Parameters
    ----------
    build : Build
        With the trained runs ``fine_tuned`` and ``head_only`` and the features ``random_weights`` upstream, as asked.
    sides : Sides
        Cleaned rows; the order of `sides.sample` is that of the answer.
    size : int
        Rows of P that the linear rivals are fitted on; trained networks saw the whole training split.

    Returns
    -------
    dict of name to int ndarray, shape (m,)
    """
    config = build.config
    generator = np.random.default_rng([config.shift.seed, 5])
    reference, sample = sides.reference, sides.sample
    rows = generator.permutation(len(reference.labels))[:size]
    labels = reference.labels[rows]
    found: dict[str, Int[np.ndarray, " m"]] = {}
    for name in config.shift.rivals:
        if name == "random_features":
            train, queries = random_fourier_features(
                reference.embeddings[rows], sample.embeddings, width=WIDTH, generator=generator
            )
        elif name == "random_weights":
            layer = build.inputs["features"].metrics["layers"][0] if config.shift.layer is None else config.shift.layer
            fresh = read_feature_arrays(build.inputs[name])
            train = _by_id(fresh, f"{config.shift.reference}.{layer}", config.shift.reference, reference.ids[rows])
            queries = _by_id(fresh, f"{config.shift.sample}.{layer}", config.shift.sample, sample.ids)
        else:
            outputs = read_final_outputs(build.inputs[name])
            logits = _by_id(outputs, f"{config.shift.sample}.logits", config.shift.sample, sample.ids)
            found[name] = logits.argmax(axis=1)
            continue
        found[name] = guessed(*probe_scores((train, labels), queries, generator=generator)).astype(np.int64)
    return found


def _by_id(arrays: dict[str, np.ndarray], key: str, split: str, wanted: np.ndarray) -> np.ndarray:
    place = {int(value): row for row, value in enumerate(arrays[f"{split}.ids"])}
    return arrays[key][[place[int(value)] for value in wanted]].astype(np.float64)
