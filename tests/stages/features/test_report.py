"""The section on features compares the layers of every two seeds on the same rows, and says where it cannot."""

import dataclasses

import numpy as np
import pytest

from analysis import compare_layers
from analysis.pages.blocks import Picture, Table, Text
from pipeline.engine.build import Gathered
from pipeline.engine.cells import compose_run
from pipeline.stages.features.report import section
from tests.stages.stage_cases import artifact_with_files

LAYERS = ["layer2", "head"]
CONFIG = compose_run(("data=parabola", "features=blocks"))


def features(seed):
    x = np.random.default_rng(0).normal(size=(30, 5))
    rng = np.random.default_rng(seed)
    first = (x @ rng.normal(size=(5, 8))).astype(np.float32)
    return {"layer2": first, "head": first @ rng.normal(size=(8, 3)).astype(np.float32)}


def member(tmp_path, seed, ids=None, model="a"):
    arrays = {f"test.{layer}": part for layer, part in features(seed).items()}
    arrays["test.ids"] = np.arange(30) if ids is None else ids
    labels = np.arange(40) % 3
    centers = np.random.default_rng(5).normal(size=(3, 8))
    for layer in LAYERS:
        arrays[f"train.{layer}"] = centers[labels, : arrays[f"test.{layer}"].shape[1]].astype(np.float32)
    arrays |= {
        "train.labels": labels,
        "test.labels": labels[:30],
        "test.logits": np.eye(3, dtype=np.float32)[labels[:30]],
    }
    folder = tmp_path / "features" / f"f{model}-{seed:012d}"
    artifact = artifact_with_files(folder, {"features.safetensors": arrays}, {"layers": LAYERS, "classes": 3})
    return Gathered({"model": model, "seed": str(seed)}, CONFIG, artifact, "python run.py")


def test_layers_of_all_seeds_are_compared_in_order_of_depth(tmp_path):
    shown = section([member(tmp_path, seed) for seed in range(3)], CONFIG)
    wanted = compare_layers({f"seed {seed}": features(seed) for seed in range(3)}, measures=["procrustes", "neighbors"])
    tables = [block for block in shown.blocks if isinstance(block, Table)]
    assert [row[0] for row in tables[2].rows] == ["layer2", "head", "no layer"]
    assert sum(float(row[2]) for row in tables[2].rows) == pytest.approx(100)
    assert [row[0] for row in tables[1].rows] == ["layer2", "layer2", "head", "head"]
    assert tables[1].rows[0][2] == f"{wanted.further[0]['value']:.3f}"[:4] + tables[1].rows[0][2][4:]
    assert sum(isinstance(block, Picture) for block in shown.blocks) == 2
    (headline,) = shown.headlines
    assert headline.answer == wanted.headlines()[0].answer and tables[0].keys


@pytest.mark.parametrize(
    ("ids", "said"),
    [(None, "There is one run"), (np.arange(30)[::-1].copy(), "different test rows")],
    ids=["one", "rows"],
)
def test_what_cannot_be_compared_is_said(tmp_path, ids, said):
    group = [member(tmp_path, 0)] + ([] if ids is None else [member(tmp_path, 1, ids)])
    shown = section(group, CONFIG)
    (text,) = shown.blocks
    assert isinstance(text, Text) and said in text.text and not shown.headlines


def test_networks_are_told_apart(tmp_path):
    both = [member(tmp_path, seed, model=model) for model in "ab" for seed in range(2)]
    shown = section(both, dataclasses.replace(CONFIG))
    captions = [block.caption for block in shown.blocks if isinstance(block, Table)]
    assert [caption[:3] for caption in captions] == 3 * ["a. "] + 3 * ["b. "]
