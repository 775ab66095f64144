"""Our linear datamodeling score equals quanda's on the same scores, parts and networks."""

import importlib.machinery
import importlib.util
import sys
import types

import numpy as np
import pytest
import pytorch_lightning
import torch

from analysis.attribution.retraining import linear_datamodeling_score, random_subsets
from analysis.surrogates.faithfulness import log_odds


class StandIn(types.ModuleType):
    """A package that quanda imports for other metrics than this one: any name is a class, any module is there."""

    __path__: list[str] = []

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = importlib.machinery.ModuleSpec(name, None)

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {"__init__": lambda self, *given, **named: None})


@pytest.fixture
def quanda(monkeypatch):
    if importlib.util.find_spec("quanda") is None:
        pytest.skip("quanda is not installed: pip install --no-deps quanda==0.5.0")
    monkeypatch.setitem(sys.modules, "lightning", pytorch_lightning)
    if importlib.util.find_spec("torchvision") is None:
        for name in ("torchvision", "torchvision.models", "torchvision.models.resnet", "torchvision.transforms"):
            monkeypatch.setitem(sys.modules, name, StandIn(name))
            parent, _, own = name.rpartition(".")
            if parent:
                setattr(sys.modules[parent], own, sys.modules[name])
    from quanda.metrics.ground_truth import linear_datamodeling

    return linear_datamodeling


def test_the_score_equals_that_of_quanda(quanda):
    rng = np.random.default_rng(0)
    rows, test, classes, count = 40, 7, 3, 25
    subsets = random_subsets(rows, count, rng)
    scores, labels = rng.normal(size=(test, rows)), rng.integers(0, classes, test)
    logits = rng.normal(size=(count, test, classes))  # of networks trained on the parts
    margins = np.stack([log_odds(one)[np.arange(test), labels] for one in logits])
    ours = linear_datamodeling_score(scores, subsets, margins, rng=rng, draws=10)
    metric = quanda.LinearDatamodelingMetric(
        model=torch.nn.Linear(2, classes),
        train_dataset=torch.utils.data.TensorDataset(torch.zeros(rows, 2)),
        m=count,
        subset_ids=[np.flatnonzero(mask).tolist() for mask in subsets],
        subset_ckpt_filenames=["unused"] * count,
    )
    given = {number: torch.from_numpy(one) for number, one in enumerate(logits)}
    metric.update(torch.from_numpy(scores), torch.from_numpy(labels), torch.zeros(test, 2), subset_logits=given)
    np.testing.assert_allclose(ours.per_point, metric.results["scores"][0].numpy(), atol=1e-6)
    assert float(ours.mean.estimate) == pytest.approx(metric.compute()["score"], abs=1e-6)
