"""Settings of the probe, shift and regression stages are refused before anything runs."""

import dataclasses

import pytest

from pipeline.checks.studies import study_problems
from pipeline.config.run import RunConfig
from pipeline.engine.cells import compose_run

EXPERIMENTS = (
    "probes_resnet18",
    "ck_regression",
    "ck_logistic",
    "ck_gpt2",
    "shift_tweets",
    "shift_cola",
    "shift_sentiment140",
    "shift_text",
)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiments_compose_and_pass(name):
    for overrides in ((), ("debug=tiny",)):
        config = compose_run((f"experiment={name}", *overrides))
        assert config.experiment_name == name
        assert list(study_problems(config)) == []


@pytest.mark.parametrize(
    ("section", "options", "message"),
    [
        ("probes", {"neighbors": []}, "at least one positive number"),
        ("probes", {"costs": [0.0]}, "positive cost"),
        ("probes", {"scaling": "max"}, "none, global, whitening"),
        ("probes", {"components": 0}, "probes.components=0"),
        ("probes", {"tolerance": 1.5}, "0.01 is one point"),
        ("shift", {"reference": "test"}, "both 'test'"),
        ("shift", {"permutations": 9}, "draw at least 19"),
        ("shift", {"redraws": 0}, "shift.redraws=0"),
        ("shift", {"power_sizes": [2]}, "at least 4 rows"),
        ("regression", {"task": "svm"}, "function, logistic, head"),
        ("regression", {"protocol": "authors"}, "corrected, published"),
        ("regression", {"penalty_unit": "norm"}, "absolute, trace"),
        ("regression", {"penalty_unit": "trace", "protocol": "published"}, "has no penalty"),
        ("regression", {"window": [5, 5]}, "first and last eigenvalue index"),
        ("regression", {"penalty": 0.0}, "must be positive"),
        ("regression", {"floor": 0.5}, "must lie in"),
    ],
)
def test_impossible_settings_are_refused(section, options, message):
    config = RunConfig()
    config = dataclasses.replace(config, **{section: dataclasses.replace(getattr(config, section), **options)})
    assert message in " ".join(study_problems(config))
