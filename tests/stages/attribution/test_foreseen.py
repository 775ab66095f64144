"""What an attribution cannot read is said before the network is trained."""

from types import SimpleNamespace

import pytest

from pipeline.engine.cells import compose_run
from pipeline.errors import UserError
from pipeline.stages.attribution.foreseen import refuse_steps_past_training


def test_checkpoints_past_the_training_are_refused_before_it():
    data = SimpleNamespace(size=lambda split: 100)
    words = ("training.epochs=2", "training.batch_size=32", "attribution.method=tracin")
    refuse_steps_past_training(compose_run((*words, "attribution.checkpoints=[4,8,-1]")), data)
    with pytest.raises(UserError, match=r"attribution.checkpoints=\[9\] goes past the 8 steps .* \(4 an epoch\)"):
        refuse_steps_past_training(compose_run((*words, "attribution.checkpoints=[9]")), data)
