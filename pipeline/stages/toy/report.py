"""Report section of the two-layer toy study: norms, spectra, alignment per setting, and the claims decided."""

from __future__ import annotations

import math
import shlex
from collections import Counter

import numpy as np

from analysis.pages.blocks import Block, Finding, Headline, Section, Table, Text
from analysis.pages.cells import OVER_SEEDS, summary_cells
from analysis.verdicts import student_mean_interval
from pipeline.config.run import RunConfig
from pipeline.engine.build import Gathered
from pipeline.engine.composition.command_words import shell_word
from pipeline.reporting.headlines import over_runs_of
from pipeline.stages.toy.claims import toy_claims
from pipeline.stages.toy.figures import toy_pictures
from pipeline.stages.toy.read import Quantity, ToyMember, read_member


def section(members: list[Gathered], config: RunConfig) -> Section:
    """Tabulate every setting, draw its spectra, and decide the claims that the settings allow."""
    read = [read_member(member) for member in members]
    keys = [member.key for member in read]
    command = _command_of_all([member.command for member in members])
    blocks: list[Block] = [
        Text(
            "A two-layer net at linear width learns from a single-index teacher. Rates marked × are multiples of each "
            "seed's measured critical rate, 2B over the largest eigenvalue of its tangent kernel. Class: no outlier "
            "and a still bulk is invariant; one to five outliers over a still bulk is bulk+spike; more with a moved "
            "bulk is heavy/deformed."
        ),
        _errors(read, keys, command),
        _spectra(read, keys, command),
        *_tails(read, keys, command),
    ]
    blocks += toy_claims(read)
    blocks += toy_pictures(read)
    findings = []
    for member in read:
        mean = student_mean_interval(member.values("test_error"))[0]
        classes = ", ".join(f"{count} {name}" for name, count in Counter(member.metrics["classes"]).items())
        error = f"test error {mean:.3f}; " if math.isfinite(mean) else ""
        said = f"{member.label}, n = {member.config.samples:,}: {error}{classes}."
        findings.append(Finding(said, [member.key]))
    return Section("Spectra of the toy model", [*findings, *blocks], _headlines(read, keys, command))


ANSWERS: dict[str, tuple[Quantity, str, str, str, tuple[float, float] | None]] = {
    "change": (
        "ks_start",
        "Do spectra of the weights change in training?",
        "The spectrum of the weights ends at a Kolmogorov-Smirnov distance of {} from its start, where 0 is no change",
        "KS distance to the start",
        (0.0, 1.0),
    ),
    "outliers": (
        "outliers",
        "How many eigenvalues leave the bulk in training?",
        "The number of eigenvalues that training pushes out of the bulk is {}",
        "outliers",
        (0.0, math.inf),
    ),
    "size": (
        "change_operator",
        "How large is the change of the weights?",
        "The change of the weights has an operator norm of {} √d",
        "operator norm of the change / √d",
        (0.0, math.inf),
    ),
    "error": (
        "test_error",
        "Which setting generalizes best?",
        "Mean squared test error is {}",
        "test error",
        (0.0, math.inf),
    ),
}
"""Headlines by name: quantity, question, sentence, heading and range."""


def _headlines(read: list[ToyMember], keys: list[str], command: str) -> list[Headline]:
    found = []
    for name, (quantity, question, says, heading, within) in ANSWERS.items():
        runs: dict[str, dict[str, float | None]] = {}
        for member in read:
            label = f"{member.label}, n = {member.config.samples:,}"
            final = [row for row in member.final if row.status == "ok"]
            runs[label] = {str(row.seed): float(getattr(row, quantity)) for row in final}
        what = "Two-layer network at the last step, seeds that diverged left out; × is a multiple of the critical rate."
        about = (heading, what if any("×" in label for label in runs) else what.partition("; ×")[0] + ".", "")
        found += over_runs_of(name, question, says, runs, about, (keys, command), within=within)
    return found


def _command_of_all(commands: list[str]) -> str:
    """Give the command that makes all members: the words that their own commands share, without the stage.

    Examples
    --------
    >>> _command_of_all(["python run.py experiment=e toy=a stage=toy", "python run.py experiment=e toy=b stage=toy"])
    'python run.py experiment=e'
    """
    if len(commands) == 1:
        return commands[0]
    first, *rest = [shlex.split(command) for command in commands]
    kept = [word for word in first if all(word in other for other in rest) and not word.startswith("stage=")]
    return " ".join(shell_word(word) for word in kept)


def _errors(read: list[ToyMember], keys: list[str], command: str) -> Table:
    rows = []
    for member in read:
        multiple = float(np.mean(member.metrics["rate_multiple"])) if not member.config.own_step else math.nan
        diverged = len(member.metrics["diverged"])
        rows.append(
            [
                member.label,
                member.config.samples,
                multiple,
                float(np.mean(member.metrics["critical_rate"])),
                *summary_cells(member.values("test_error"), within=(0, math.inf)),
                float(np.mean(member.metrics["ridge_error"])),
                diverged,
            ]
        )
    return Table(
        [
            "setting",
            "samples",
            "rate / critical rate",
            "critical rate",
            "runs",
            "test error",
            "sd",
            "95 % interval",
            "best ridge",
            "diverged",
        ],
        rows,
        "Mean squared test error after training; seeds that diverged are left out. Best ridge: the best linear model "
        "on the same data. " + OVER_SEEDS,
        keys=keys,
        command=command,
    )


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _spectra(read: list[ToyMember], keys: list[str], command: str) -> Table:
    names: tuple[Quantity, ...] = ("change_operator", "change_frobenius", "ks_start", "ck_ks_start", "ntk_ks_start")
    after: tuple[Quantity, ...] = ("largest", "alignment", "ck_alignment", "ck_movement")
    rows = []
    for member in read:
        outliers = [int(value) for value in member.values("outliers")]
        span = f"{min(outliers)}–{max(outliers)}" if outliers else "–"
        last = _mean(member.values("kta"))
        kta = f"{_mean(member.values('kta', 0)):.3f} → {f'{last:.3f}' if math.isfinite(last) else '–'}"
        rows.append(
            [
                f"{member.label}, n = {member.config.samples:,}",
                len(outliers),
                *(_mean(member.values(name)) for name in names),
                span,
                *(_mean(member.values(name)) for name in after),
                kta,
            ]
        )
    headings = ["setting", "runs", "‖ΔW‖op/√d", "‖ΔW‖F/√d", "KS₀ W", "KS₀ CK", "KS₀ NTK", "outliers", "λ₁"]
    return Table(
        [*headings, "|⟨v₁, β⟩|", "CK: |⟨u₁, y⟩|", "CK movement", "KTA"],
        rows,
        "Means over seeds. KS₀ is the Kolmogorov-Smirnov distance of a spectrum to the run's own first one. With a "
        "trained readout the tangent kernel's bulk is rescaled by ‖v‖²/‖v₀‖² and moves although W and CK stay.",
        keys=keys,
        command=command,
    )


def _tails(read: list[ToyMember], keys: list[str], command: str) -> list[Table]:
    rows = []
    for member in read:
        kept = [tail for tail in member.tails if tail["seed"] not in member.metrics["diverged"]]
        fitted = [tail for tail in kept if tail.get("fitted_alpha") is not None and "p_alpha" in tail]
        if not fitted:
            continue
        significant = [tail["alpha"] for tail in fitted if not math.isnan(tail["alpha"])]
        sound = [tail["weightwatcher_alpha"] for tail in fitted if not math.isnan(tail["weightwatcher_alpha"])]
        rows.append(
            [
                f"{member.label}, n = {member.config.samples:,}",
                len(fitted),
                len(significant),
                _mean(significant),
                _mean([tail["distance"] for tail in fitted]),
                _mean([tail["hill"] for tail in fitted]),
                max(tail["p_distance"] for tail in fitted),
                max(tail["p_alpha"] for tail in fitted),
                _mean(sound),
                len(sound),
            ]
        )
    if not rows:
        return []
    table = Table(
        [
            "setting",
            "runs",
            "significant",
            "α where significant",
            "KS of the fit",
            "Hill",
            "largest p(KS)",
            "largest p(α)",
            "WeightWatcher α",
            "runs where sound",
        ],
        rows,
        "Power-law tails of WᵀW/h. An exponent is given only where noise of the same shape, fitted alike, is as "
        "straight and as heavy in at most 5 % of draws; a fit returns an exponent on noise too. WeightWatcher α has no "
        "null; it is given where its own fit is sound (50 eigenvalues or more, an exponent from 2 to 6).",
        keys=keys,
        command=command,
    )
    return [table]
