"""Settings of the probe, shift and regression stages are refused before anything runs."""

import dataclasses

import pytest

from pipeline.checks.general import check
from pipeline.engine.cells import compose_run
from pipeline.errors import UserError


@pytest.mark.parametrize(
    ("section", "options", "message"),
    [
        ("probes", {"neighbors": []}, "neighbors is empty"),
        ("probes", {"costs": [0.0]}, "takes numbers above 0"),
        ("probes", {"scaling": "max"}, "none, global, whitening"),
        ("probes", {"components": 0}, "probes.components=0"),
        ("probes", {"tolerance": 1.5}, "is not in [0, 1)"),
        ("shift", {"reference": "test"}, "both 'test'"),
        ("shift", {"permutations": 9}, "set shift.permutations=19 or more"),
        ("shift", {"redraws": 0}, "shift.redraws=0"),
        ("shift", {"power_sizes": [2]}, "takes numbers at least 4"),
        ("toy", {"optimizer": "adam"}, "give its rate with rate_unit=absolute"),
        ("toy", {"optimizer": "lion"}, "toy.optimizer=lion is not one of gd, sgd, adam"),
        ("toy", {"seeds": [1, 1]}, "toy.seeds holds 1 twice"),
        ("regression", {"task": "svm"}, "function, logistic, head"),
        ("regression", {"protocol": "authors"}, "corrected, published"),
        ("regression", {"penalty_unit": "norm"}, "absolute, trace"),
        ("regression", {"penalty_unit": "trace", "protocol": "published"}, "has no penalty"),
        ("regression", {"window": [5, 5]}, "first and last eigenvalue index"),
        ("regression", {"penalty": 0.0}, "is not above 0"),
        ("regression", {"floor": 0.5}, "is not in (0, 0.5)"),
    ],
)
def test_impossible_settings_are_refused(section, options, message):
    config = compose_run(("wants=[toy]",))
    config = dataclasses.replace(config, **{section: dataclasses.replace(getattr(config, section), **options)})
    with pytest.raises(UserError) as caught:
        check(config)
    assert message in str(caught.value)
