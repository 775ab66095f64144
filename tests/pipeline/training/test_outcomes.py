"""Trainings that diverged are no result: they are counted and refused."""

import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.training.outcomes import require_finite_outcomes


def test_trainings_that_diverged_are_counted():
    values = np.zeros((4, 2, 3))
    require_finite_outcomes(values, "trainings")
    values[1, 0, 2], values[3] = np.nan, np.inf
    with pytest.raises(UserError, match=r"2 of 4 trainings diverged: .* Lower training.lr"):
        require_finite_outcomes(values, "trainings")
