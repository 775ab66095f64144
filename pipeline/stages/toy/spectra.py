"""Record the spectra of a toy run: one table row per seed and snapshot, and the spectra themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from analysis.spectra.alignment import feature_target_alignment
from analysis.spectra.classes import classify_spectrum
from analysis.spectra.outliers import check_perturbation_bounds, count_outliers, spike_margin
from analysis.spectra.weights import alignment, ks_between, leading_vectors, wasserstein_between, weight_spectrum
from kernels.diagnostics import kernel_alignment, relative_change
from pipeline.config.toy import ToyConfig
from pipeline.stages.toy.read import ToyRow
from pipeline.stages.toy.train import ToyEnsemble, make_ensemble, tangent_kernel, train_all_seeds


@dataclass(frozen=True)
class ToyResult:
    """What a toy run leaves behind.

    Attributes
    ----------
    config : ToyConfig
    rows : list of ToyRow
        One per seed and snapshot: step, losses, norms, distances, outliers, alignments, class.
    steps : list of int
        Snapshot steps; fewer than planned when all seeds diverged.
    spectra : dict of ndarray (seeds, snapshots, k)
        Eigenvalues, descending, of ``weight`` (W^T W / h), ``ck`` (Phi Phi^T / h) and ``ntk``; NaN for a
        diverged seed.
    """

    config: ToyConfig
    rows: list[ToyRow]
    steps: list[int]
    spectra: dict[str, Float[np.ndarray, "s t k"]]


@dataclass(frozen=True)
class _Moment:
    """Kernels and spectra of one seed at one step, float64."""

    weight: np.ndarray
    singular: np.ndarray
    features: np.ndarray
    conjugate: np.ndarray
    ck: np.ndarray
    tangent: np.ndarray
    ntk: np.ndarray


def run_toy_study(config: ToyConfig, device: torch.device | str = "cpu") -> ToyResult:
    """Train every seed of a configuration and measure it at log-spaced steps.

    Parameters
    ----------
    config : ToyConfig
        Its caps are applied first.
    device : torch.device or str
        Where training runs; eigenvalues are taken on the host in float64.

    Returns
    -------
    ToyResult
        Rows of a diverged seed carry ``status = "diverged"`` from the first snapshot after its divergence,
        with the step and the rate over the critical rate.
    """
    config = config.capped()
    ensemble = make_ensemble(config, device)
    recorder = _Recorder(config, ensemble)
    outcome = {name: tensor.cpu().numpy() for name, tensor in train_all_seeds(config, ensemble, recorder).items()}
    for row in recorder.rows:
        index = config.seeds.index(row.seed)
        row.rate = float(outcome["rate"][index])
        row.critical_rate = float(outcome["critical_rate"][index])
        row.rate_multiple = float(outcome["rate"][index] / outcome["critical_rate"][index])
        row.diverged_step = int(outcome["diverged"][index])
        if 0 <= row.diverged_step <= row.step:
            row.status = row.label = "diverged"
    spectra = {name: np.stack(values, axis=1) for name, values in recorder.spectra.items()}
    return ToyResult(config, recorder.rows, recorder.steps, spectra)


class _Recorder:
    """Callable that turns weights into rows and spectra.

    ``readout_growth`` is ``||v||^2 / ||v_0||^2``: with a trained readout it rescales the first layer's
    tangent kernel by an amount of order one, so the tangent kernel's bulk moves although the others stay.
    """

    def __init__(self, config: ToyConfig, ensemble: ToyEnsemble) -> None:
        self.config = config
        self.ensemble = ensemble
        self.rows: list[ToyRow] = []
        self.steps: list[int] = []
        self.spectra: dict[str, list[np.ndarray]] = {"weight": [], "ck": [], "ntk": []}
        self.start: list[_Moment] = []

    def __call__(self, step: int, hidden: Float[Tensor, "s h d"], readout: Float[Tensor, "s h"]) -> None:
        config, ensemble = self.config, self.ensemble
        with torch.no_grad():
            train = self._error(ensemble.inputs, ensemble.targets, hidden, readout)
            test = self._error(ensemble.test_inputs, ensemble.test_targets, hidden, readout)
            phi = ensemble.features(ensemble.inputs, hidden)
        kernels = tangent_kernel(ensemble, ensemble.inputs, hidden, readout, config.trained)
        found: dict[str, list[np.ndarray]] = {name: [] for name in self.spectra}
        for index, seed in enumerate(config.seeds):
            row = ToyRow(seed, step, "ok", float(train[index]), float(test[index]))
            weight = _numpy(hidden[index]) / ensemble.scales.hidden_deviation
            if math.isfinite(float(train[index])) and np.all(np.isfinite(weight)):
                moment = _measure(weight, _numpy(phi[index]), _numpy(kernels[index]))
                if step == 0:
                    self.start.append(moment)
                self._measure_change(row, index, moment)
                growth = (readout[index] ** 2).mean() / (ensemble.readout[index] ** 2).mean()
                row.readout_growth = float(growth)
                values = (moment.singular**2 / weight.shape[0], moment.ck, moment.ntk)
            else:
                row.status = row.label = "diverged"
                shapes = (weight.shape[1], config.samples, config.samples)
                values = tuple(np.full(size, math.nan) for size in shapes)  # type: ignore[assignment]
            for name, value in zip(found, values, strict=True):
                found[name].append(value)
            self.rows.append(row)
        self.steps.append(step)
        for name, arrays in found.items():
            self.spectra[name].append(np.stack(arrays))

    def _error(self, x: Tensor, y: Tensor, hidden: Tensor, readout: Tensor) -> Tensor:
        """Mean squared error of each seed."""
        f = self.ensemble.output(x, hidden, readout)
        if self.config.center_output:
            f = f - self.ensemble.output(x, self.ensemble.hidden, self.ensemble.readout)
        return ((f - y) ** 2).mean(1)

    def _measure_change(self, row: ToyRow, index: int, now: _Moment) -> None:
        """Fill in the numbers of one seed against its own start."""
        start = self.start[index]
        rows, columns = now.weight.shape
        change = weight_spectrum(now.weight - start.weight)
        check_perturbation_bounds(start.singular, now.singular, change)
        eigenvalues = now.singular**2 / rows
        count = count_outliers(eigenvalues, rows, columns)
        ks_start = ks_between(eigenvalues, start.singular**2 / rows)
        directions = _numpy(self.ensemble.directions[index])
        leading = leading_vectors(now.weight).right[:, 0]
        aligned = float(np.linalg.norm(directions @ leading))
        targets = _numpy(self.ensemble.targets[index])
        top = now.features @ leading_vectors(now.features).right[:, 0]
        conjugate = torch.from_numpy(start.conjugate), torch.from_numpy(now.conjugate)
        tangent = torch.from_numpy(start.tangent), torch.from_numpy(now.tangent)
        named = classify_spectrum(count.count, ks_start, aligned)
        row.change_frobenius = float(np.linalg.norm(change)) / math.sqrt(columns)
        row.change_operator = float(change[0]) / math.sqrt(columns)
        row.margin = spike_margin(float(change[0]), rows, columns)
        row.ks_start = ks_start
        row.outliers = count.count
        row.largest = count.largest
        row.alignment = aligned
        row.kta = feature_target_alignment(now.features, targets).value
        row.kta_centered = feature_target_alignment(now.features, targets, centered=True).value
        row.ck_alignment = alignment(top, targets)
        row.ck_ks_start = ks_between(now.ck, start.ck)
        row.ck_wasserstein_start = wasserstein_between(now.ck, start.ck)
        row.ck_largest = float(now.ck[0])
        row.ck_movement = relative_change(*conjugate)
        row.ck_distance = 1.0 - kernel_alignment(*conjugate)
        row.ntk_ks_start = ks_between(now.ntk, start.ntk)
        row.ntk_wasserstein_start = wasserstein_between(now.ntk, start.ntk)
        row.ntk_largest = float(now.ntk[0])
        row.ntk_movement = relative_change(*tangent)
        row.label = named.label
        row.evidence = named.evidence


def _numpy(tensor: Tensor) -> np.ndarray:
    """Float64 array on the host."""
    return tensor.detach().to("cpu", torch.float64).numpy()


def _measure(weight: np.ndarray, features: np.ndarray, tangent: np.ndarray) -> _Moment:
    """Spectra of a weight and of its kernels; the conjugate one through the shorter side, zeros padded."""
    samples, width = features.shape
    squares = weight_spectrum(features) ** 2 / width
    return _Moment(
        weight=weight,
        singular=weight_spectrum(weight),
        features=features,
        conjugate=features @ features.T / width,
        ck=np.concatenate([squares, np.zeros(samples - squares.size)]),
        tangent=tangent,
        ntk=np.linalg.eigvalsh(tangent)[::-1].copy(),
    )
