"""Every row of the table in docs/own_networks.md: what later stages cannot use is said before anything is trained."""

import dataclasses
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.config.data import DataConfig
from pipeline.data.datamodule import DataModule
from pipeline.data.view import DataView, Split
from pipeline.engine.artifacts import Store
from pipeline.engine.build import Build
from pipeline.engine.cells import CONF, compose_run
from pipeline.engine.graph import Graph
from pipeline.engine.plan import later_of
from pipeline.engine.stages import STAGES, load_function
from pipeline.errors import UserError
from pipeline.training.foresight import refuse_before_jobs, refuse_unfit_network
from tests.own_work import enter, write_images, write_network

PAGE = (CONF.parent / "docs" / "own_networks.md").read_text(encoding="utf-8")
PROMISED = dict(re.findall(r"^\| (.+?) \| `(.+)` \|$", PAGE.partition("## What is refused")[2], re.M))
CONFIG = compose_run(("experiment=own", "model=custom", "model.target=torch.nn.Linear", "data=images"))
WIDE = {"spectra": {"min_side": 3}}


class Small(nn.Module):
    """A convolution, and a layer that gives the logits."""

    def __init__(self, scale=1.0, of_batch=False):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 4, 3), nn.Linear(4, 3)
        self.scale, self.of_batch = scale, of_batch

    def forward(self, x):
        hidden = self.conv(x).relu().mean((2, 3))
        return self.fc(hidden - hidden.mean(0) if self.of_batch else hidden) * self.scale


class Pixels(nn.Module):
    """A network without a matrix."""

    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(3))

    def forward(self, x):
        return x.flatten(1)[:, :3] + self.shift


def data(train=60, test=30, targets=None):
    """Noise of three classes, as a data module."""

    def rows(n):
        pixels = torch.randint(0, 256, (n, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(n))
        return Split(torch.arange(n), pixels, torch.arange(n) % 3 if targets is None else targets(n))

    splits = {"train": rows(train), "test": rows(test)}
    classes = 3 if targets is None else 0
    view = DataView("image", splits, classes, ["a", "b", "c"][:classes], "")
    return DataModule(view, DataConfig("noise"), Path("cache"))


def real(n):
    return torch.arange(n, dtype=torch.float64)[:, None]


CASES = {
    "logits that no linear layer gives": ("features", Small(2.0), {}, {}),
    "a layer that is not there": ("features", Small(), {"features": {"layers": ["convv"]}}, {}),
    "the last of pixels": ("features", Small(), {"features": {"layers": ["conv"], "pool": "last"}}, {}),
    "a split that is not there": ("features", Small(), {"features": {"splits": ["train", "tset"]}}, {}),
    "features of one split for probes": ("probes", Small(), {"features": {"splits": ["train"]}}, {}),
    "weights too small for spectra": ("spectra", Small(), {}, {}),
    "a pattern of weights that matches none": ("spectra", Small(), {"spectra": {"layers": ["head*"]}}, {}),
    "no weight that is a matrix": ("spectra", Pixels(), WIDE, {}),
    "outputs that depend on the other rows of a batch": ("kernel", Small(of_batch=True), {}, {}),
    "the conjugate kernel of such logits": ("kernel", Small(2.0), {"kernel": {"kind": "conjugate"}}, {}),
    "attribution by embeddings of such logits": (
        "attribution",
        Small(2.0),
        {"attribution": {"method": "embedding"}},
        {},
    ),
    "a class without a row among the kernel's": ("surrogate", Small(), {"kernel": {"n_train": 2}}, {}),
    "too few test rows for statistics": ("statistics", Small(), {}, {"test": 2}),
    "real targets for statistics": ("statistics", Small(), {}, {"targets": real}),
    "real targets for a surrogate": ("surrogate", Small(), {}, {"targets": real}),
    "real targets for probes": ("probes", Small(), {}, {"targets": real}),
}


def test_the_page_lists_what_is_tried_here():
    assert list(PROMISED) == list(CASES)


@pytest.mark.parametrize("wrong", CASES)
def test_what_is_wrong_is_told_as_promised(wrong):
    stage, network, changed, rows = CASES[wrong]
    config = CONFIG
    for section, values in changed.items():
        config = dataclasses.replace(config, **{section: dataclasses.replace(getattr(config, section), **values)})
    with pytest.raises(UserError) as refused:
        load_function(STAGES[stage].foresees)(config, data(**rows), network.eval())
    told = str(refused.value)
    assert PROMISED[wrong] in told and "\n" not in told and told.endswith("."), told


@pytest.mark.parametrize("stage", [name for name, stage in STAGES.items() if stage.foresees])
def test_what_works_passes(stage):
    config = dataclasses.replace(CONFIG, spectra=dataclasses.replace(CONFIG.spectra, min_side=3))
    load_function(STAGES[stage].foresees)(config, data(), Small().eval())


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Words of a study of the written network, in whose folder a stranger works."""
    folder = write_network(tmp_path / "a strange place")
    enter(folder, monkeypatch, "mynet")
    monkeypatch.syspath_prepend(str(folder))
    rows = write_images(folder / "data")
    return ("experiment=own", "model=custom", "model.target=mynet.MyNet", *rows, "debug=tiny", "paths.store=store")


def test_nothing_is_trained_where_a_later_stage_would_refuse(own, run_here):
    with pytest.raises(UserError, match=r"Set spectra.min_side=8, take a wider network"):
        run_here(*own, "spectra.min_side=50", "cells.seed=0:2", "wants=[train,spectra]")
    made = {path.parts[1] for path in Path("store").glob("*/*/*/manifest.json")}
    assert made == {"prepare"}
    assert run_here(*own, "spectra.min_side=50", "stage=train").metrics["steps"], "spectra were not asked for"


def test_a_command_that_submits_jobs_refuses_what_later_stages_would_where_the_rows_are_prepared(own, run_here):
    words = (*own, "spectra.min_side=50", "wants=[train,spectra]", "cells.seed=0:2")
    run_here(*words, "stage=prepare")
    graph = Graph(words)
    target, store = graph.resolve("report", graph.compose()), Store(Path("store"))
    with pytest.raises(UserError, match=r"Set spectra.min_side=8, take a wider network"):
        refuse_before_jobs(target, store)
    refuse_before_jobs(target, Store(Path("another store")))  # of rows that are not there nothing can be said
    graph = Graph((*words, "spectra.min_side=4"))
    refuse_before_jobs(graph.resolve("report", graph.compose()), store)


def test_training_is_the_same_with_and_without_being_asked(own, tmp_path):
    graph = Graph(own)
    config = graph.compose()
    node = graph.resolve("train", config)
    later = later_of([graph.resolve(stage, config) for stage in ("features", "kernel", "spectra", "train")])[node.key]
    assert [name for name, _ in later] == ["features", "kernel", "spectra"]
    build = Build(node, graph, None, tmp_path, {}, later=later)
    before = torch.random.get_rng_state()
    refuse_unfit_network(build, data())
    assert before.equal(torch.random.get_rng_state())
