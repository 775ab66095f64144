"""Layers of several runs: arrays and streams give equal numbers, and the memory that is stated is kept."""

import tracemalloc

import numpy as np
import pytest
import torch

from analysis import compare_layers
from tests.analysis.comparison.cases import layers
from tests.references import centered_alignment as reference

FEATURES = layers()
RESULT = compare_layers(FEATURES)


def batches(run, size=17):
    return ({name: part[start : start + size] for name, part in run.items()} for start in range(0, 40, size))


def test_every_entry_is_the_cka_of_two_layers():
    small = layers(count=2, examples=8)
    found = compare_layers(small)
    for a, (first, one) in enumerate(small.items()):
        for b, (second, other) in enumerate(small.items()):
            for i, x in enumerate(one.values()):
                for j, y in enumerate(other.values()):
                    assert found.cka[a, i, b, j] == pytest.approx(reference.unbiased_cka(x, y), abs=1e-10), (
                        first,
                        second,
                    )


@pytest.mark.parametrize("batch", [2, 7, 512])
def test_batches_and_routes_change_nothing(batch):
    np.testing.assert_allclose(compare_layers(FEATURES, batch=batch).cka, RESULT.cka, atol=1e-12)
    tiles = compare_layers(FEATURES, batch=batch, memory=30_000)
    assert "pairs of blocks" in tiles.route and tiles.memory <= 30_000
    np.testing.assert_allclose(tiles.cka, RESULT.cka, atol=1e-12)


def test_streams_tensors_images_and_other_orders_of_layers_give_equal_numbers():
    found = compare_layers({name: batches(run) for name, run in FEATURES.items()})
    np.testing.assert_allclose(found.cka, RESULT.cka, atol=1e-12)
    assert found.route == "one pass in batches of 17 examples" and found.examples == 40
    tensors = {
        name: {
            layer: torch.tensor(part, requires_grad=True).reshape(40, 1, -1) for layer, part in reversed(run.items())
        }
        for name, run in FEATURES.items()
    }
    turned = compare_layers(tensors)
    assert turned.layers == ("second", "first")
    np.testing.assert_allclose(turned.cka[:, ::-1, :, ::-1], RESULT.cka, atol=1e-12)


def test_pairs_within_batches_from_arrays_and_streams_and_memory_for_one_batch_only():
    arrays = compare_layers(FEATURES, pairs="batch", batch=10)
    assert arrays.route == "pairs within 4 batches of at most 10 examples, in float64"
    streams = {name: batches(run, 10) for name, run in FEATURES.items()}
    streamed = compare_layers(streams, pairs="batch", memory=30_000)
    np.testing.assert_allclose(streamed.cka, arrays.cka, atol=1e-12)
    assert 1e-3 < np.abs(arrays.cka - RESULT.cka).max() < 0.3
    whole = compare_layers(FEATURES, pairs="batch")
    np.testing.assert_allclose(whole.cka, RESULT.cka, atol=1e-12)
    bad = {name: {**run, "first": run["first"].copy()} for name, run in FEATURES.items()}
    bad["seed 1"]["first"][25] = np.inf
    for given in (bad, {name: batches(run, 10) for name, run in bad.items()}):
        with pytest.raises(ValueError, match=r"features\['seed 1'\]\['first'\] is NaN or infinite, first in row 25"):
            compare_layers(given, pairs="batch", batch=10)


def test_means_and_intervals_are_over_pairs_of_runs():
    table = RESULT.table.set_index(["layer", "other", "between"])
    apart = ~np.eye(4, dtype=bool)
    assert table.loc[("first", "first", "seeds"), "value"] == pytest.approx(RESULT.cka[:, 0, :, 0][apart].mean())
    between = (RESULT.cka[:, 0, :, 1] + RESULT.cka[:, 1, :, 0])[apart].mean() / 2
    assert table.loc[("first", "second", "seeds"), "value"] == pytest.approx(between)
    assert RESULT.between_seeds[0, 1] == pytest.approx(between)
    within = np.mean([RESULT.cka[i, 0, i, 1] for i in range(4)])
    assert table.loc[("first", "second", "one seed"), "value"] == pytest.approx(within)
    assert RESULT.within_a_seed[1, 0] == pytest.approx(within)
    assert (table["low"] < table["value"]).all() and (table["high"] <= 1).all() and (table["low"] >= -1).all()
    assert len(RESULT.pairs) == 8 * 7 / 2


def test_one_run_compares_its_layers_and_two_have_no_interval():
    one = compare_layers({"seed 0": FEATURES["seed 0"]})
    assert len(one.rows) == 1 and "1 run: too few for intervals" in repr(one)
    one.plot()
    two = compare_layers(dict(list(FEATURES.items())[:2]))
    assert two.table["low"].isna().all() and "2 runs: too few for intervals" in repr(two)


def test_a_layer_that_does_not_vary_is_named():
    dead = {name: {**run, "dead": np.ones((40, 2))} for name, run in FEATURES.items()}
    result = compare_layers(dead)
    assert "Layers that do not vary have no CKA: seed 0, dead; seed 1, dead" in repr(result)
    assert np.isnan(result.between_seeds[2]).all() and not np.isnan(result.between_seeds[:2, :2]).any()
    result.plot()


@pytest.mark.parametrize("memory", [2**30, 3_000_000], ids=["sums", "tiles"])
def test_the_stated_memory_is_kept(memory):
    rng = np.random.default_rng(0)
    wide = {seed: {name: rng.normal(size=(600, 200)) for name in "ab"} for seed in range(2)}
    tracemalloc.start()
    result = compare_layers(wide, batch=100, memory=memory)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.1 * result.memory + 500_000 and result.memory <= memory + 24 * 100 * 800


def test_the_page_holds_figure_table_and_memory(tmp_path):
    text = RESULT.report(tmp_path / "layers.html").read_text(encoding="utf-8")
    assert "MiB at most" in text and "<svg" in text and "one pass in batches" in text
