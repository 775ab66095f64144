"""Stage ``shift`` on images: pixels and surface measures in the place of words, and the network's own errors."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from pipeline.data.datamodule import DataModule
from pipeline.engine.artifacts import Store
from pipeline.engine.cells import compose_run
from pipeline.engine.executor import Puller
from pipeline.engine.graph import Graph
from pipeline.stages.shift.report import section
from pipeline.stages.shift.run import shift
from tests.stages.stage_cases import artifact_with_files, run_on

CLASSES = 3


def scenes(n, rng):
    """Smooth images with fine grain, and their classes, which their brightness shows."""
    labels = np.arange(n) % CLASSES
    coarse = rng.integers(60, 180, (n, 3, 3, 3)) + 10 * labels[:, None, None, None]
    smooth = np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2)
    return np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8), labels


def as_jpeg(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=20)
    return np.asarray(Image.open(buffer))


@pytest.fixture(scope="module")
def member(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    images, labels = scenes(150, np.random.default_rng(0))
    images[149] = images[0]  # one image twice
    copies = np.stack([as_jpeg(image) for image in images])
    copies[3] = images[3]  # one that both sides have
    for name, rows in (("train", images[:30]), ("test", images), ("jpeg", copies)):
        np.savez(folder / f"{name}.npz", image=rows, label=labels[: len(rows)])
    paths = (f"data.path.{split}={folder}/{name}.npz" for split, name in
             (("train", "train"), ("test", "test"), ("extra.jpeg", "jpeg")))  # fmt: skip
    overrides = ("data=images", "data.source=path", "data.path.format=npz", *paths, "data.split.leaks=keep")
    overrides += ("data.split.val=0.0", f"paths.cache={folder}/cache", "weights.path=w.pt")
    config, graph = compose_run(overrides), Graph(overrides)
    prepared = Puller(Store(folder), graph).pull(graph.resolve("prepare", config))
    small = {"per_side": 45, "permutations": 39, "redraws": 2, "components": 3, "null_draws": 4, "power_sizes": [20]}
    small |= {"power_draws": 3, "probe_sizes": [40], "probe_redraws": 2, "reference": "test", "sample": "jpeg"}
    config = dataclasses.replace(config, shift=dataclasses.replace(config.shift, **small))
    data = DataModule.load(prepared.folder, config.data, folder / "cache")
    arrays, rng = {}, np.random.default_rng(1)
    for split, moved in (("test", 0.0), ("jpeg", 0.8)):
        truth = data.labels(split).numpy()
        logits = np.eye(CLASSES, dtype=np.float32)[(truth + (np.arange(len(truth)) < 100 * moved)) % CLASSES]
        values = rng.standard_normal((len(truth), 4)) + moved + 3.0 * np.eye(4)[truth]
        arrays |= {f"{split}.penultimate": values.astype(np.float32), f"{split}.logits": logits}
        arrays |= {f"{split}.ids": data.ids(split).numpy(), f"{split}.labels": truth}
    features = artifact_with_files(
        folder / "features" / "f-000000000000", {"features.safetensors": arrays}, {"layers": ["penultimate"]}
    )
    return run_on(folder, shift, config, {"data": prepared, "features": features})


def test_what_storage_has_changed_is_seen_by_embedding_surface_and_pixels(member):
    rows = member.artifact.table("tests.parquet").to_pylist()
    auc = {
        (row["representation"], row["pair"]): row["auc"]
        for row in rows
        if row["test"] == "C2ST (split)" and row["redraw"] == 0 and not row["class"]
    }
    assert auc["cues", "P-M"] > 0.95 and auc["cues", "P-P' brighter"] > 0.7
    assert auc["embedding", "P-M"] > 0.7 and ("pixels", "P-M") in auc
    assert {row["class"] for row in rows} == {"", "0", "1", "2"}, "tests within each class too"


def test_images_that_both_sides_hold_or_one_holds_twice_are_left_out(member):
    metrics = member.artifact.metrics
    assert metrics["left_out"]["common"] == 1 and metrics["left_out"]["reference_duplicates"] == 1
    assert metrics["rows"] == "images" and metrics["class_counts"] == {"0": 14, "1": 15, "2": 14}


def test_the_network_errs_as_often_as_its_logits_say(member):
    own = member.artifact.metrics["own_errors"]
    assert own == {"reference": {"rows": 150, "errors": 0}, "sample": {"rows": 150, "errors": 80}}


def test_probes_tell_all_classes_apart(member):
    rows = [row for row in member.artifact.table("probes.parquet").to_pylist() if row["test"] == "P"]
    assert min(row["balanced_accuracy"] for row in rows) > 0.7 and all(np.isnan(row["auc"]) for row in rows)


def test_the_section_says_what_tests_probe_and_error_say(member):
    shown = section([member], member.config)
    assert "pixels" in shown.findings[0] and "character n-grams" not in shown.findings[0]
    assert "a linear probe of 40 reference rows is right on" in shown.findings[1]
    assert "the network itself errs on" in shown.findings[2] and "of 150 sample rows" in shown.findings[2]
