"""Trainings that cannot run are refused before anything is made."""

import pytest

from pipeline.checks.general import check
from pipeline.engine.cells import compose_run
from pipeline.errors import UserError

NARROW = ("model=resnet18", "model.width=4")


def test_a_network_too_narrow_for_channels_last_is_refused():
    check(compose_run(NARROW))
    check(compose_run((*NARROW[:1], "model.width=8", "numerics.memory_format=channels_last")))
    with pytest.raises(UserError, match="set model.width=8 or more, or numerics.memory_format=contiguous"):
        check(compose_run((*NARROW, "numerics.memory_format=channels_last")))
