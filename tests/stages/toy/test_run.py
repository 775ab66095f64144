"""Stage ``toy``: what it writes and reports at tiny size, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.engine.artifacts import Artifact
from pipeline.errors import UserError
from pipeline.stages.toy.run import best_ridge_error


def test_ridge_reaches_the_linear_part() -> None:
    generator = np.random.default_rng(0)
    x, t = generator.standard_normal((400, 20)), generator.standard_normal((400, 20))
    beta = generator.standard_normal(20)
    noise = 0.1 * generator.standard_normal(800)
    error = best_ridge_error(x, x @ beta + noise[:400], t, t @ beta + noise[400:])
    assert error == pytest.approx(0.01, rel=0.3)


def pull(stage: str, store: Path, *overrides: str) -> Artifact:
    from pipeline.engine.cells import compose_run
    from pipeline.entry import execute

    words = (*overrides, f"stage={stage}", f"paths.store={store}")
    artifact = execute(compose_run(words), words)
    assert artifact is not None
    return artifact


def test_toy_experiment_reports_at_tiny_size(tmp_path: Path) -> None:
    report = pull("report", tmp_path, "experiment=spectra_toy_spike", "debug=tiny")
    assert report.metrics["verdicts"] == [], "a shrunk run decides nothing"
    assert report.has("report.html")
    toy = pull("toy", tmp_path, "toy=gd_half", "debug=tiny")
    assert toy.arrays("spectra.safetensors")["ck"].shape[0] == 2
    again = pull("toy", tmp_path / "other", "toy=gd_half", "debug=tiny")
    assert again.manifest["files"] == toy.manifest["files"]


def test_impossible_toy_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="rate_unit=absolute"):
        pull("toy", tmp_path, "toy.optimizer=adam", "debug=tiny")
