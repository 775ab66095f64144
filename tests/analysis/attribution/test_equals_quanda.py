"""Our linear datamodeling score equals quanda's on the same scores, parts and retrained networks."""

import importlib
import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning
import torch
from torch import nn

from analysis.attribution import OptimizerRule, Replay, linear_datamodeling_score, random_subsets
from analysis.surrogates.faithfulness import log_odds

ROWS, TEST, CLASSES, PARTS = 24, 7, 3, 20
FOLDERS = ("quanda", "quanda.metrics", "quanda.metrics.ground_truth", "quanda.utils")
"""Their ``__init__`` import explainers that need torchvision, dattri and captum; the metric's own files do not."""


@pytest.fixture
def metric(monkeypatch):
    """quanda's metric, from its own files; the packages around it are entered without running what they import."""
    found = importlib.util.find_spec("quanda")
    if found is None or not found.submodule_search_locations:
        pytest.skip("quanda is not installed: pip install --no-deps quanda==0.5.0")
    place = Path(found.submodule_search_locations[0])
    for name in [name for name in sys.modules if name.partition(".")[0] == "quanda"]:
        monkeypatch.delitem(sys.modules, name)
    for name in FOLDERS:
        package = types.ModuleType(name)
        package.__path__ = [str(place.joinpath(*name.split(".")[1:]))]
        monkeypatch.setitem(sys.modules, name, package)
    same = types.ModuleType("lightning")  # the same code under its other name
    vars(same).update(vars(pytorch_lightning), __name__="lightning", pytorch=pytorch_lightning)
    monkeypatch.setitem(sys.modules, "lightning", same)
    yield importlib.import_module("quanda.metrics.ground_truth.linear_datamodeling").LinearDatamodelingMetric
    for name in [name for name in sys.modules if name.partition(".")[0] == "quanda"]:
        del sys.modules[name]


def trained_on_parts() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Scores of MAGIC, parts, logits of the networks that were trained on them, and labels of the test points."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS + TEST, 4, generator=generator, dtype=torch.float64)
    y = torch.randint(CLASSES, (ROWS + TEST,), generator=generator)
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, CLASSES)).double()
    batch = ({"x": x[:ROWS]}, y[:ROWS], torch.arange(ROWS))
    rule, loss = OptimizerRule("sgd", momentum=0.9), nn.functional.cross_entropy
    replay = Replay(network, lambda m, inputs: m(inputs["x"]), loss, rule, [0.1] * 8, lambda step: batch, ROWS, 25)
    test, labels = {"x": x[ROWS:]}, y[ROWS:]

    def margins(weights: torch.Tensor) -> torch.Tensor:
        logits = replay.outputs(weights, test)
        own = nn.functional.one_hot(labels, CLASSES).bool()
        return logits[own] - logits.masked_fill(own, -torch.inf).logsumexp(1)

    scores = replay.derivative(margins).numpy()
    parts = random_subsets(ROWS, PARTS, np.random.default_rng(2))
    with torch.no_grad():
        ends = replay.run_together(torch.from_numpy(parts).double())
        logits = torch.stack([replay.outputs(one, test) for one in ends])
    return scores, parts, logits.numpy(), labels.numpy()


def test_the_score_equals_that_of_quanda(metric):
    scores, parts, logits, labels = trained_on_parts()
    margins = np.stack([log_odds(one)[np.arange(TEST), labels] for one in logits])
    ours = linear_datamodeling_score(scores, parts, margins, rng=np.random.default_rng(3), draws=20)
    assert float(ours.mean.estimate) > 0.8, "a score that says something"
    theirs = metric(
        model=nn.Linear(2, CLASSES),
        train_dataset=torch.utils.data.TensorDataset(torch.zeros(ROWS, 2)),
        m=PARTS,
        subset_ids=[np.flatnonzero(part).tolist() for part in parts],
        subset_ckpt_filenames=["unused"] * PARTS,
    )
    given = {number: torch.from_numpy(one) for number, one in enumerate(logits)}
    theirs.update(torch.from_numpy(scores), torch.from_numpy(labels), torch.zeros(TEST, 2), subset_logits=given)
    np.testing.assert_allclose(ours.per_point, theirs.results["scores"][0].numpy(), atol=1e-6)
    assert float(ours.mean.estimate) == pytest.approx(theirs.compute()["score"], abs=1e-6)
