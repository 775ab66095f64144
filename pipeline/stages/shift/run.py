"""Stage ``shift``: is the sample a draw from the reference? Calibrated tests, controls, probes and power."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import numpy as np
from sklearn.manifold import TSNE

from analysis.shift.classifier_test import cross_validated_classifier_test, split_classifier_test
from analysis.shift.cues import cue_features, plant_trailing_blank
from analysis.shift.frechet import frechet_test
from analysis.shift.image_cues import image_cue_features, plant_brightness
from analysis.shift.kernel_tests import class_conditional, energy_test, mmd_test
from analysis.shift.pca_ks import pooled_pca_ks, pooled_scores
from analysis.shift.permutation import TestResult, crowding_note
from analysis.shift.power import Test, null_calibration, planted_mean_shift, power_curve
from analysis.shift.probes import probe_matrix
from pipeline.config.run import RunConfig
from pipeline.config.shift import ShiftConfig
from pipeline.data.datamodule import open_data
from pipeline.data.text_rules import normalize_texts
from pipeline.engine.build import Build
from pipeline.stages.shift.read import (
    CALIBRATION,
    CUE_RATES,
    FIRST_DRAW,
    POWER,
    PROBES,
    TESTS,
    CalibrationRow,
    FirstDraw,
    OutcomeRow,
)
from pipeline.stages.shift.rivals import rival_guesses
from pipeline.stages.shift.sides import Side, Sides, open_sides, raw_columns

CALIBRATED = 100
"""Rows a side of the null draws, as far as the reference has them."""
PLANTED = 2.0
"""Size of the planted mean shift, in standard deviations along one random direction."""
RESAMPLED = 99
"""Permutations inside repeated tests (null draws, power), where 5 % is all that is asked."""


def shift(build: Build) -> dict[str, Any]:
    """Compare the sample with the reference over several draws.

    Writes ``tests.parquet`` (one row for each draw, pair, representation and test), ``calibration.parquet`` (null
    p-values), ``power.parquet``, ``probes.parquet`` (labeled rows), ``cues.parquet`` and ``scores.safetensors``
    (pooled principal components and a t-SNE map of the first draw, for figures). Texts and images are never written.

    Raises
    ------
    UserError
        If a side is missing, holds one class only, or is too small.
    """
    config = build.config.shift
    data = open_data(build.config, build.inputs["data"])
    sides = open_sides(build, data)
    build.say(f"{sides.size} rows a side; left out: {sides.report}")
    rows: list[OutcomeRow] = []
    for redraw in range(config.redraws):
        generator = np.random.default_rng([config.seed, 0, redraw])
        first, second, sample = sides.draw(generator)
        for pair, other in (("P-M", sample), ("P-P'", second)):
            rows += _battery(config, first, other, pair, redraw, generator, sides.labeled)
        rows += _planted(build.config, first, second, redraw)
        build.say(f"draw {redraw + 1} of {config.redraws} tested")
    build.write_rows(TESTS, rows)
    detail = _pictures(build, sides, config)
    _calibrate(build, sides, config)
    _probe(build, sides, config)
    crowded = {
        name: note
        for name, side in (("reference", sides.reference), ("sample", sides.sample))
        if side.groups is not None and (note := crowding_note(side.groups)) is not None
    }
    sources = {"reference": sides.reference, "sample": sides.sample}
    build.write_rows(CUE_RATES, [{"source": name, **side.cue_rates()} for name, side in sources.items()])
    return {
        "rows_a_side": sides.size,
        "class_counts": {str(value): count for value, count in sides.wanted.items()},
        "reference_rows": len(sides.reference.rows),
        "sample_rows": len(sides.sample.rows),
        "width": int(sides.sample.embeddings.shape[1]),
        "labelled": sides.labeled,
        "left_out": sides.report,
        "source": str(data.view.report["source"]),
        "grouped": sides.reference.groups is not None and sides.sample.groups is not None,
        "crowded": crowded,
        **({"own_errors": {side: found._asdict() for side, found in sides.own.items()}} if sides.own else {}),
        **({"rows": "images"} if sides.images else {}),
        **detail,
    }


def _battery(
    config: ShiftConfig,
    a: Side,
    b: Side,
    pair: str,
    redraw: int,
    generator: np.random.Generator,
    labeled: bool,
) -> list[OutcomeRow]:
    x, y, draws = a.embeddings, b.embeddings, config.permutations
    pairs = None if a.groups is None or b.groups is None else (a.groups, b.groups)
    clusters = None if pairs is None else np.concatenate(pairs)
    moves: dict[str, Any] = {"generator": generator, "draws": draws, "groups": clusters}
    raw, columns = raw_columns(a, b)
    found: list[tuple[str, str, TestResult]] = [
        ("embedding", "", mmd_test(x, y, **moves)),
        ("embedding", "", energy_test(x, y, **moves)),
        ("embedding", "", frechet_test(x, y, components=_components(config, x, y), **moves)),
        ("embedding", "", pooled_pca_ks(x, y, components=config.components)),
        ("embedding", "", split_classifier_test(x, y, generator=generator)),
        ("cues", "", split_classifier_test(a.cues(), b.cues(), generator=generator)),
        (
            raw,
            "",
            split_classifier_test(*columns, generator=generator, standardize=False, penalties=(0.01, 0.1, 1.0)),
        ),
    ]
    if redraw == 0:  # refits everything under each permutation: once is enough
        crossed = cross_validated_classifier_test(
            x, y, generator=generator, draws=min(draws, RESAMPLED), groups=clusters
        )
        found.append(("embedding", "", crossed))
    if labeled:
        strata = np.concatenate([a.labels, b.labels])
        stratified = mmd_test(x, y, strata=strata, **moves)
        found.append(("embedding", "", dataclasses.replace(stratified, name="MMD², within classes")))
        inside = class_conditional(mmd_test, x, y, (a.labels, b.labels), generator=generator, draws=draws, groups=pairs)
        found += [("embedding", str(value), result) for value, result in inside.items()]
    return _rows(found, pair, redraw)


def _planted(config: RunConfig, a: Side, b: Side, redraw: int) -> list[OutcomeRow]:
    """Test what must be found: P' moved along one direction, and P' whose rows are marked on their surface.

    Texts get the blank of a removed emoticon, which goes through the run's own normalization and is undone by it unless
    texts are raw; images become brighter.
    """
    generator = np.random.default_rng([config.shift.seed, 4, redraw])
    moved = planted_mean_shift(b.embeddings, PLANTED, generator)
    shifted = mmd_test(a.embeddings, moved, generator=generator, draws=config.shift.permutations)
    if isinstance(b.rows, np.ndarray):
        name, cues = "P-P' brighter", image_cue_features(plant_brightness(b.rows))
    else:
        text = config.data.text
        marked = normalize_texts(plant_trailing_blank(b.rows, 1.0, generator), text.normalize, text.mask)
        name, cues = "P-P' with blanks", cue_features(marked)
    seen = split_classifier_test(a.cues(), cues, generator=generator)
    return [
        *_rows([("embedding", "", shifted)], "P-P' moved", redraw),
        *_rows([("cues", "", seen)], name, redraw),
    ]


def _rows(found: list[tuple[str, str, TestResult]], pair: str, redraw: int) -> list[OutcomeRow]:
    return [
        {
            "pair": pair,
            "redraw": redraw,
            "representation": representation,
            "class": value,
            "test": result.name,
            "statistic": result.statistic,
            "p": result.p_value,
            "smallest_p": result.smallest_p,
            "holm_p": float(result.detail.get("holm_p", result.p_value)),
            "n": result.sizes[0],
            "auc": float(result.detail.get("auc", np.nan)),
            "auc_low": float(result.detail.get("auc_low", np.nan)),
            "auc_high": float(result.detail.get("auc_high", np.nan)),
            "notes": " ".join(result.notes),
        }
        for representation, value, result in found
    ]


def _components(config: ShiftConfig, *samples: np.ndarray) -> int:
    return min(config.components, sum(map(len, samples)) - 1, samples[0].shape[1])


def _pictures(build: Build, sides: Sides, config: ShiftConfig) -> dict[str, Any]:
    generator = np.random.default_rng([config.seed, 0, 0])
    first, second, sample = sides.draw(generator)
    scores = pooled_scores(first.embeddings, sample.embeddings, config.components)
    pooled = np.concatenate([first.embeddings, sample.embeddings])
    perplexity = min(30.0, (len(pooled) - 1) / 3.0)
    flat = TSNE(perplexity=perplexity, init="pca", random_state=config.seed, n_jobs=1).fit_transform(pooled)
    kept = FirstDraw(
        reference=scores.a,
        sample=scores.b,
        explained_variance=scores.explained_variance,
        reference_labels=first.labels,
        sample_labels=sample.labels,
        map=flat.astype(np.float32),
    )
    build.write_arrays(FIRST_DRAW, vars(kept))
    ks, null = (
        pooled_pca_ks(first.embeddings, other.embeddings, components=config.components) for other in (sample, second)
    )
    crossed = cross_validated_classifier_test(first.embeddings, sample.embeddings, generator=generator, draws=1)
    return {
        "ks": ks.detail,
        "ks_null": null.detail,
        "typical_reference_ids": first.ids[crossed.detail["typical_a"]].tolist(),
        "typical_sample_ids": sample.ids[crossed.detail["typical_b"]].tolist(),
    }


def _repeated_tests(config: ShiftConfig, width: int, size: int) -> dict[str, Test]:
    def ks(a: np.ndarray, b: np.ndarray, *, generator: np.random.Generator) -> TestResult:
        return pooled_pca_ks(a, b, components=config.components)

    return {
        "MMD²": partial(mmd_test, draws=RESAMPLED),
        "energy distance": partial(energy_test, draws=RESAMPLED),
        "Fréchet distance": partial(
            frechet_test, draws=RESAMPLED, components=min(config.components, width, 2 * size - 1)
        ),
        "pooled-PCA KS": ks,
        "C2ST (split)": split_classifier_test,
    }


def _calibrate(build: Build, sides: Sides, config: ShiftConfig) -> None:
    reference, sample = sides.reference.embeddings, sides.sample.embeddings
    size = min(CALIBRATED, len(reference) // 2)
    found = null_calibration(
        reference,
        _repeated_tests(config, reference.shape[1], size),
        size=size,
        repeats=config.null_draws,
        generator=np.random.default_rng([config.seed, 1]),
    )
    null: list[CalibrationRow] = []
    for name, calibration in found.items():
        low, high = calibration.band
        null += [
            {"test": name, "size": size, "draw": draw, "p": float(p), "low": low, "high": high}
            for draw, p in enumerate(calibration.p_values)
        ]
    build.write_rows(CALIBRATION, null)
    sizes = [value for value in config.power_sizes if value <= min(len(reference), len(sample))]
    if sizes:
        rows = power_curve(
            reference,
            sample,
            sizes,
            _repeated_tests(config, reference.shape[1], min(sizes)),
            repeats=config.power_draws,
            generator=np.random.default_rng([config.seed, 2]),
        )
        build.write_rows(POWER, rows)


def _probe(build: Build, sides: Sides, config: ShiftConfig) -> None:
    several = len(sides.wanted) > 1 if sides.images else set(sides.wanted) == {0, 1}
    if not sides.labeled or not several:
        build.say("probes need two classes on both sides; none fitted")
        return
    room = len(sides.reference.labels) - min(1000, len(sides.reference.labels) // 2)
    sizes = [size for size in config.probe_sizes if size <= room]
    if not sizes:
        build.say(f"no size of shift.probe_sizes fits {room} training rows; no probe fitted")
        return
    rivals = rival_guesses(build, sides, size=max(sizes))
    rows = probe_matrix(
        (sides.reference.embeddings, sides.reference.labels),
        (sides.sample.embeddings, sides.sample.labels),
        sizes=sizes,
        redraws=config.probe_redraws,
        generator=np.random.default_rng([config.seed, 3]),
        rivals=rivals,
    )
    build.write_rows(PROBES, rows)
