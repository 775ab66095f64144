"""Stage ``toy``: one setting of the two-layer toy model under all of its seeds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from analysis.spectra.heavy_tails import gaussian_null, tail_report
from analysis.spectra.power_law import MIN_TAIL
from analysis.spectra.weightwatcher import weightwatcher_alpha
from pipeline.engine.artifacts import finite_or_none
from pipeline.engine.build import Build
from pipeline.errors import UserError
from pipeline.machine.arithmetic import arithmetic
from pipeline.stages.toy.read import ROWS, SPECTRA, TAILS, TailRow
from pipeline.stages.toy.spectra import ToyResult, run_toy_study
from pipeline.stages.toy.train import make_ensemble


def toy(build: Build) -> dict[str, Any]:
    """Train all seeds together and write what their spectra did.

    Writes ``rows.parquet`` (a row per seed and snapshot), ``tails.parquet`` (a row per seed that did not diverge)
    and ``spectra.safetensors`` (``weight``, ``ck`` and ``ntk``, each seeds x snapshots x eigenvalues).
    """
    config = build.config.toy.capped()
    try:
        config.validate()
    except ValueError as error:
        raise UserError(f"The toy configuration cannot run: {error}.") from error
    width, features = config.shape
    build.say(
        f"{config.optimizer} at {config.rate:g} ({config.rate_unit}), n = {config.samples}, "
        f"{config.steps} steps, {len(config.seeds)} seeds"
    )
    with arithmetic(build.config.numerics) as device:
        found = run_toy_study(config, device)
    ensemble = make_ensemble(config)
    ridge = [
        best_ridge_error(*(getattr(ensemble, name)[i].double().numpy() for name in _RIDGE))
        for i in range(len(config.seeds))
    ]
    build.write_rows(ROWS, found.rows)
    build.write_rows(TAILS, _tails(found, config.null_draws))
    build.write_arrays(SPECTRA, found.spectra)
    final = [row for row in found.rows if row.step == found.steps[-1]]
    return {
        "steps": found.steps,
        "samples": config.samples,
        "features": features,
        "width": width,
        "seeds": config.seeds,
        "critical_rate": [row.critical_rate for row in final],
        "rate_multiple": [row.rate_multiple for row in final],
        "diverged": [row.seed for row in final if row.status != "ok"],
        "classes": [row.label for row in final],
        "test_error": [finite_or_none(row.test_error) for row in final],
        "ridge_error": ridge,
    }


_RIDGE = ("inputs", "targets", "test_inputs", "test_targets")


def best_ridge_error(
    x: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, " n"],
    x_test: Float[np.ndarray, "t d"],
    y_test: Float[np.ndarray, " t"],
) -> float:
    """Smallest mean squared test error of ridge regression over 40 penalties: what a linear model could reach."""
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    loading, directions = u.T @ y, x_test @ vt.T
    penalties = np.geomspace(1e-3, 1e3, 40) * x.shape[1]
    fits = [directions @ (s / (s**2 + penalty) * loading) for penalty in penalties]
    return min(float(np.mean((fit - y_test) ** 2)) for fit in fits)


def _tails(found: ToyResult, draws: int) -> list[TailRow]:
    """Tail of each seed's last weight spectrum against noise of its shape."""
    width, features = found.config.shape
    rows: list[TailRow] = []
    for seed, spectrum in zip(found.config.seeds, found.spectra["weight"][:, -1], strict=True):
        if not np.all(np.isfinite(spectrum)) or draws < 1 or spectrum.size <= MIN_TAIL:
            rows.append({"seed": seed, "alpha": math.nan, "statement": "no tail fitted"})
            continue
        report = tail_report(spectrum, gaussian_null(width, features, draws, 0))
        rows.append(
            {
                "seed": seed,
                "alpha": math.nan if report.alpha is None else report.alpha,
                "fitted_alpha": report.fit.alpha,
                "distance": report.fit.distance,
                "x_min": report.fit.x_min,
                "hill": report.hill,
                "p_distance": report.p_distance,
                "p_alpha": report.p_alpha,
                "weightwatcher_alpha": weightwatcher_alpha(spectrum) or math.nan,
                "statement": report.statement,
            }
        )
    return rows
