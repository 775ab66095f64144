"""Rotations and neighbors of layers between seeds: equal to slow references by every route, and what chance gives."""

import numpy as np
import pytest

from analysis import compare_layers
from tests.analysis.comparison.cases import layers
from tests.references import layer_similarity as reference

FEATURES = layers()
ALL = ["cka", "procrustes", "neighbors"]
RESULT = compare_layers(FEATURES, measures=ALL, neighbors=4)


def expected(compare):
    """Mean over pairs of runs, by layer."""
    runs = list(FEATURES.values())
    pairs = [(runs[a], runs[b]) for a in range(4) for b in range(a)]
    return {layer: np.mean([compare(one[layer], other[layer]) for one, other in pairs]) for layer in runs[0]}


def found(result, measure):
    return {row["layer"]: row["value"] for row in result.further if row["measure"] == measure}


def test_every_mean_is_that_of_the_slow_references():
    assert found(RESULT, "procrustes") == pytest.approx(expected(reference.rotation_similarity), abs=1e-9)
    overlap = expected(lambda x, y: reference.neighbor_overlap(x, y, 4))
    assert found(RESULT, "neighbors") == pytest.approx(overlap, abs=1e-12)


def test_batches_streams_and_wide_layers_change_nothing():
    again = compare_layers(FEATURES, measures=ALL, neighbors=4, batch=7)
    assert found(again, "neighbors") == found(RESULT, "neighbors")
    assert found(again, "procrustes") == pytest.approx(found(RESULT, "procrustes"), abs=1e-9)

    def batches(run):
        return ({name: part[start : start + 17] for name, part in run.items()} for start in range(0, 40, 17))

    streamed = compare_layers({name: batches(run) for name, run in FEATURES.items()}, measures=["procrustes"])
    assert found(streamed, "procrustes") == pytest.approx(found(RESULT, "procrustes"), abs=1e-9)
    wide = {
        name: {layer: np.concatenate([part + 5] * 40, axis=1) for layer, part in run.items()}
        for name, run in FEATURES.items()
    }  # forty copies have the same inner products, and more features than there are examples
    gram = compare_layers(wide, measures=["procrustes"], batch=9)
    assert found(gram, "procrustes") == pytest.approx(found(RESULT, "procrustes"), abs=1e-8)


def test_a_turned_layer_is_the_same_and_unrelated_ones_are_at_chance():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 6))
    turned = {seed: {"layer": 3 * x @ np.linalg.qr(rng.normal(size=(6, 6)))[0] + 7} for seed in range(3)}
    same = compare_layers(turned, measures=ALL)
    assert found(same, "procrustes")["layer"] == pytest.approx(1) and found(same, "neighbors")["layer"] == 1
    others = compare_layers({seed: {"layer": rng.normal(size=(300, 6))} for seed in range(3)}, measures=ALL)
    for row in others.further:
        assert row["value"] == pytest.approx(row["chance"], abs=0.05)
    assert others.further[1]["chance"] == pytest.approx(10 / 299)


def test_a_layer_that_does_not_vary_has_no_rotation():
    dead = {name: {"dead": np.ones((40, 2))} for name in FEATURES}
    assert np.isnan(found(compare_layers({**dead}, measures=["procrustes"]), "procrustes")["dead"])


def test_the_page_shows_them(tmp_path):
    assert "nearest neighbors in common" in repr(RESULT) and len(RESULT.measures) == 4
    text = RESULT.report(tmp_path / "layers.html").read_text(encoding="utf-8")
    assert "after the best rotation, and its neighbors in common" in text and "by chance" in text
