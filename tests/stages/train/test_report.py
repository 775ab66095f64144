"""What the report shows of trained networks."""

from types import SimpleNamespace

import pytest

from pipeline.stages.train import report


@pytest.mark.parametrize("epochs,marker", [(1, "o"), (3, "None")])
def test_a_learning_curve_of_one_epoch_is_visible(monkeypatch, epochs, marker):
    rows = [{"epoch": epoch, "train_loss": 1.0, "val_loss": 2.0} for epoch in range(1, epochs + 1)]
    monkeypatch.setattr(report, "read_learning_curve", lambda artifact: rows)
    drawn = report.learning_curves({"mlp": [SimpleNamespace(artifact=None, labels={"seed": "0"})]}).axes[0].lines
    lines = [line for line in drawn if len(line.get_xdata())]
    assert len(lines) == 2 and {line.get_marker() for line in lines} == {marker}
