"""Stage ``probes`` on made-up features: tables, onset, verdicts over seeds, and refusals."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from analysis.pages.blocks import Picture, Table
from analysis.verdicts import OPEN, Claim
from pipeline.engine.artifacts import Store
from pipeline.engine.build import Gathered
from pipeline.engine.cells import compose_run
from pipeline.engine.executor import Puller
from pipeline.engine.graph import Graph
from pipeline.errors import UserError
from pipeline.stages.probes.report import section
from pipeline.stages.probes.run import probes
from tests.stages.stage_cases import artifact_with_files, following, run_on

LAYERS = ["layer1", "layer2", "penultimate"]


def config_of(**options):
    config = compose_run(("data=parabola", "features=blocks"))
    probing = dataclasses.replace(config.probes, components=8, draws=20, neighbors=[5], costs=[0.1], **options)
    return dataclasses.replace(config, probes=probing)


def upstream(tmp_path, seed=0, dead=False, layers=tuple(LAYERS)):
    rng = np.random.default_rng(seed)
    means = 6.0 * rng.standard_normal((3, 8))
    features = {}
    for split, n in (("train", 90), ("test", 60)):
        labels = np.arange(n) % 3
        for layer, noise in zip(LAYERS, (9.0, 3.0, 0.3), strict=True):
            rows = means[labels] + noise * rng.standard_normal((n, 8))
            features[f"{split}.{layer}"] = rows.astype(np.float32)
        if dead:
            features[f"{split}.layer1"] = np.ones((n, 8), np.float32)
        features |= {
            f"{split}.labels": labels,
            f"{split}.ids": np.arange(n),
            f"{split}.logits": np.eye(3, dtype=np.float32)[labels],
        }
    features = {name: rows for name, rows in features.items() if name.partition(".")[2] not in {*LAYERS} - {*layers}}
    metrics = {"layers": list(layers), "classes": 3}
    return {
        "features": artifact_with_files(
            tmp_path / "features" / f"f-{seed:012d}", {"features.safetensors": features}, metrics
        ),
        "weights": artifact_with_files(
            tmp_path / "train" / f"w-{seed:012d}",
            {"weights.safetensors": {"head.weight": (means - means.mean(0)).astype(np.float32)}},
            {},
        ),
    }


@pytest.fixture(scope="module")
def member(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probes")
    return run_on(folder, probes, config_of(), upstream(folder))


def test_collapse_grows_with_depth_and_has_an_onset(member):
    collapse = member.artifact.table("collapse.parquet").to_pylist()
    nc1 = [row["nc1"] for row in collapse]
    assert nc1[0] > nc1[1] > nc1[2]
    assert collapse[2]["nc3"] < 0.1 and np.isnan(collapse[0]["nc3"])
    assert member.artifact.metrics["onset"] in ("layer2", "penultimate")
    assert member.artifact.metrics["network_accuracy"] == 1.0
    rows = member.artifact.table("probes.parquet").to_pylist()
    assert "seconds" not in rows[0] and {row["layer"] for row in rows} == set(LAYERS)


def test_a_second_run_writes_the_same_bytes(member, tmp_path):
    again = run_on(tmp_path, probes, config_of(), upstream(tmp_path))
    assert again.artifact.manifest["files"] == member.artifact.manifest["files"]


def test_section_shows_every_layer_and_one_run_decides_nothing(member):
    assert not [block for block in section([member], member.config).blocks if isinstance(block, Claim)]
    one = section([following(member, "2309.15328")], member.config)
    claims = [block for block in one.blocks if isinstance(block, Claim)]
    assert len(claims) == 8 and {claim.decided.outcome for claim in claims} == {OPEN}, "one run decides nothing"
    assert sum(isinstance(block, Picture) for block in one.blocks) == 4
    table = next(block for block in one.blocks if isinstance(block, Table))
    assert len(table.rows) == 9


def test_controls_fall_to_chance_and_follow_the_network(tmp_path):
    inputs = upstream(tmp_path)
    arrays = inputs["features"].arrays("features.safetensors")
    noisy = {
        name.replace("test.", "test_noisy."): values + 50.0 if "layer1" in name else values
        for name, values in arrays.items()
        if name.startswith("test.")
    }
    folder = tmp_path / "features" / "g-000000000000"
    inputs["features"] = artifact_with_files(
        folder, {"features.safetensors": arrays | noisy}, {"layers": LAYERS, "classes": 3}
    )
    found = run_on(tmp_path, probes, config_of(controls=True), inputs)
    rows = {(row["control"], row["layer"]): row for row in found.artifact.table("controls.parquet").to_pylist()}
    assert len(rows) == 6
    permuted = [rows["permuted labels", layer][probe] for layer in LAYERS for probe in ("knn", "ncc", "svm")]
    assert np.mean(permuted) < 0.5, "one class in three is chance"
    clean = found.artifact.table("probes.parquet").to_pylist()
    whole = next(r for r in clean if (r["layer"], r["classifier"], r["k"]) == ("penultimate", "ncc", 0))
    assert rows["noisy test rows", "penultimate"]["ncc"] == whole["accuracy"], "equal rows, equal answers"
    assert rows["noisy test rows", "layer1"]["ncc"] < whole["accuracy"]
    shown = [block for block in section([found], found.config).blocks if isinstance(block, Table)]
    assert any("controls" in block.caption for block in shown)


HISTORY = (
    "data=parabola",
    "model.widths=[8,8]",
    "training.batch_size=96",
    "training.epochs=2",
    "snapshots.record=[weights]",
    "snapshots.schedule=epochs",
    "features.noise=0.1",
    "probes={components: 8, draws: 20, neighbors: [5], costs: [0.1], history: true, controls: true}",
    "hardware.progress=false",
)


def test_collapse_and_onset_at_every_snapshot(tmp_path):
    overrides = (*HISTORY, f"paths.store={tmp_path}", f"paths.cache={tmp_path}/cache")
    config, graph = compose_run(overrides), Graph(overrides)
    node = graph.resolve("probes", config)
    artifact = Puller(Store(tmp_path), graph).pull(node)
    history, onsets = (artifact.table(f"{name}.parquet").to_pylist() for name in ("history", "onsets"))
    assert [row["epoch"] for row in onsets] == [0, 1, 2] and len(history) == 3
    last, final = history[-1], artifact.table("collapse.parquet").to_pylist()[-1]
    assert last["nc1"] == final["nc1"] and last["nc3"] == final["nc3"], "the last snapshot is the trained network"
    assert onsets[-1]["network"] == artifact.metrics["network_accuracy"]
    assert {row["control"] for row in artifact.table("controls.parquet").to_pylist()} == {
        "permuted labels",
        "noisy test rows",
    }
    shown = section([Gathered({"seed": "0"}, config, artifact, "python run.py")], config).blocks
    assert sum(isinstance(block, Picture) for block in shown) == 4, "one layer has no depth to be drawn by"
    untrained = dataclasses.replace(config, weights=dataclasses.replace(config.weights, source="init"))
    assert "snapshots" not in graph.resolve("probes", untrained).inputs


def test_a_dead_layer_is_reported_and_the_others_go_on(tmp_path):
    found = run_on(tmp_path, probes, config_of(), upstream(tmp_path, dead=True))
    collapse = found.artifact.table("collapse.parquet").to_pylist()
    assert [row["degenerate"] for row in collapse] == [True, False, False]
    assert any(
        "degenerate" in str(row)
        for block in section([found], found.config).blocks
        if isinstance(block, Table)
        for row in block.rows
    )


def test_networks_of_different_depth_stand_side_by_side(member, tmp_path):
    shallow = run_on(tmp_path, probes, config_of(), upstream(tmp_path, layers=LAYERS[2:]))
    shallow, deep = (
        dataclasses.replace(one, labels={"model": name}) for name, one in (("shallow", shallow), ("deep", member))
    )
    (headline,) = section([shallow, deep], member.config).headlines
    rows = {row[0]: row[3] for row in headline.table.rows}
    assert rows == {"shallow": "from penultimate on in 1", "deep": f"from {member.artifact.metrics['onset']} on in 1"}


def test_untrained_networks_are_controls_without_verdicts(member):
    config = dataclasses.replace(member.config, weights=dataclasses.replace(member.config.weights, source="init"))
    shown = section([dataclasses.replace(member, config=config)], config)
    assert not [block for block in shown.blocks if isinstance(block, Claim)]


def test_one_split_or_no_classes_are_refused(tmp_path):
    inputs = upstream(tmp_path)
    config = config_of()
    config = dataclasses.replace(config, features=dataclasses.replace(config.features, splits=["train"]))
    with pytest.raises(UserError, match="names one"):
        run_on(tmp_path / "a", probes, config, inputs)
    plain = artifact_with_files(tmp_path / "features" / "g-1", {}, {"layers": LAYERS, "classes": 0})
    with pytest.raises(UserError, match="regression task"):
        run_on(tmp_path / "b", probes, config_of(), inputs | {"features": plain})
