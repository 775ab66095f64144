"""What is set aside from collections comes back, unless it was aside before, as in a forked worker."""

import gc

import pytest

from pipeline.engine.inventory.collections_wait import set_aside


@pytest.mark.parametrize("forked", [False, True])
def test_what_was_aside_before_stays_aside(forked):
    try:
        if forked:
            gc.freeze()
        with set_aside():
            assert gc.get_freeze_count() > 0
        assert bool(gc.get_freeze_count()) == forked
    finally:
        gc.unfreeze()
