"""Pictures of the toy study: which runs to draw, and with which law and edge."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from analysis.pages.blocks import Picture
from analysis.spectra.deformed_laws import conjugate_kernel_law
from analysis.spectra.figures import (
    Curve,
    SpectrumPanel,
    figure_loss_by_class,
    figure_norm_scaling,
    figure_over_steps,
    figure_spectra,
    figure_tail,
    figure_waterfall,
)
from analysis.spectra.heavy_tails import simulate_wishart_spectrum
from analysis.spectra.marchenko_pastur import MarchenkoPastur, tracy_widom_edge
from analysis.spectra.power_law import MIN_TAIL, fit_power_law
from models.two_layer import activation_moments
from pipeline.stages.toy.read import Quantity, ToyMember

PANELS = 4
NORMS: dict[str, Quantity] = {"Frobenius": "change_frobenius", "operator": "change_operator"}


def toy_pictures(read: Sequence[ToyMember]) -> list[Picture]:
    """Draw what the settings allow; runs whose first seed diverged are left out of the spectra."""
    whole = [m for m in read if np.all(np.isfinite(m.spectra["weight"][0, -1]))]
    pictures: list[Picture] = []
    if whole:
        shown = _spread(whole)
        pictures.append(_weights(shown))
        if all(m.config.normalized for m in shown):
            pictures.append(_kernels(shown))
        most = max(whole, key=lambda m: (m.final[0].outliers, m.final[0].ks_start))
        pictures.append(_evolution(most))
        if most.config.shape[1] > MIN_TAIL:
            pictures.append(_tail(most))
    pictures += [_over_steps(read), _by_class(read)]
    if scaling := _scaling(read):
        pictures.append(scaling)
    return pictures


def _spread(members: Sequence[ToyMember]) -> list[ToyMember]:
    """At most four settings of the largest size, evenly spread over the experiment's order."""
    top = max(m.config.samples for m in members)
    same = [m for m in members if m.config.samples == top]
    return [same[i] for i in np.linspace(0, len(same) - 1, min(PANELS, len(same))).round().astype(int)]


def _edge(member: ToyMember) -> float:
    return tracy_widom_edge(*member.config.shape).threshold()


def _weights(members: Sequence[ToyMember]) -> Picture:
    panels = []
    for m in members:
        width, features = m.config.shape
        spectrum = m.spectra["weight"][0]
        law = MarchenkoPastur(features / width)
        panels.append(SpectrumPanel(m.label, spectrum[0], spectrum[-1], law, _edge(m)))
    return Picture(
        figure_spectra(panels, xlabel="eigenvalue of WᵀW/h"),
        "Weight spectra before and after training, first seed. Line: Marchenko-Pastur. Dashed: the edge plus four "
        "Tracy-Widom scales; ticks mark eigenvalues beyond it.",
        "Histograms of the weights' eigenvalues before and after training, with the law of noise and its edge",
    )


def _kernels(members: Sequence[ToyMember]) -> Picture:
    panels = []
    for m in members:
        width, features = m.config.shape
        moments = activation_moments(m.config.activation)
        law = conjugate_kernel_law(m.config.samples, features, width, moments.slope)
        spectrum = m.spectra["ck"][0]
        edge = law.edge(m.config.samples).threshold()
        panels.append(SpectrumPanel(m.label, spectrum[0], spectrum[-1], law, edge))
    return Picture(
        figure_spectra(panels, xlabel="eigenvalue of ΦΦᵀ/h"),
        "Conjugate-kernel spectra before and after training, first seed. Line: the deformed Marchenko-Pastur law; its "
        "atom at zero is cut off.",
        "Histograms of the conjugate kernel's eigenvalues before and after training, with their law",
    )


def _evolution(m: ToyMember) -> Picture:
    title = f"Weight spectrum, {m.label}"
    return Picture(
        figure_waterfall(m.spectra["weight"][0], m.steps, _edge(m), title, "eigenvalue of WᵀW/h"),
        "Weight spectrum over training in the setting with most outliers, first seed; dots are beyond the edge.",
        f"Eigenvalues of the weights of {m.label} at each recorded step, those beyond the edge as dots",
    )


def _tail(m: ToyMember) -> Picture:
    spectrum = m.spectra["weight"][0, -1]
    generator = np.random.default_rng(0)
    noise = np.stack([simulate_wishart_spectrum(*m.config.shape, generator) for _ in range(30)])
    significant = not math.isnan(m.tails[0]["alpha"])
    return Picture(
        figure_tail(spectrum, fit_power_law(spectrum), noise, f"Tail of the weight spectrum, {m.label}", significant),
        "Share of eigenvalues above a value, with the fitted power law and the range of noise of the same shape.",
        f"Share of eigenvalues of {m.label} above each value, beside noise of the same shape",
    )


def _over_steps(read: Sequence[ToyMember]) -> Picture:
    several = len({m.config.samples for m in read}) > 1
    names = [f"{m.label}, n = {m.config.samples}" if several else m.label for m in read]
    quantities: dict[str, Quantity] = {
        "alignment |⟨v₁, β⟩|": "alignment",
        "kernel-target alignment": "kta",
        "test error": "test_error",
    }
    panels = {
        label: {name: Curve(np.array(m.steps), m.curve(key)) for name, m in zip(names, read, strict=True)}
        for label, key in quantities.items()
    }
    return Picture(
        figure_over_steps(panels),
        "Alignment of the leading vector with the teacher, kernel-target alignment of the conjugate kernel, and test "
        "error over training: mean over seeds, band from least to most.",
        "Alignment of the leading vector, alignment of the kernel, and test error over training steps",
    )


def _by_class(read: Sequence[ToyMember]) -> Picture:
    rows = [(row, m.label) for m in read for row in m.final]
    losses = np.array([row.test_error for row, _ in rows])
    ridge = float(np.mean([value for m in read for value in m.metrics["ridge_error"]]))
    return Picture(
        figure_loss_by_class(
            [row.label for row, _ in rows], losses, [label for _, label in rows], ("best ridge", ridge)
        ),
        "Test error of every run over the class of its weight spectrum; the line is the best linear model.",
        "Test error of every run by the class of its spectrum, with the best linear model as a line",
    )


def _scaling(read: Sequence[ToyMember]) -> Picture | None:
    groups: dict[str, dict[int, ToyMember]] = {}
    for m in read:
        groups.setdefault(m.label, {})[m.config.samples] = m
    groups = {label: group for label, group in groups.items() if len(group) > 1}
    sizes = sorted({n for group in groups.values() for n in group})
    if len(sizes) < 2:
        return None
    norms = {}
    for label, group in groups.items():
        if sorted(group) != sizes:
            continue
        for word, name in NORMS.items():
            values = [group[n].curve(name)[:, -1] for n in sizes]
            if len({len(v) for v in values}) == 1:
                norms[f"{label}, {word}"] = np.stack(values, axis=1)
    if not norms:
        return None
    return Picture(
        figure_norm_scaling(np.array(sizes), norms),
        "Norm of the weight change over the number of samples at fixed ratios; bars from least to most over seeds.",
        "Norm of the weight change by the number of samples, sizes growing together",
    )
