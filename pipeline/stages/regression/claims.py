"""Decide the orderings of the kernel-regression study (R1 to R3 of arXiv:2310.18612) over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from analysis.verdicts.superseded import OldDecided as Decided
from analysis.verdicts.superseded import at_least, at_most
from pipeline.reporting.blocks import Verdict
from pipeline.stages.regression.read import FunctionRow, LogisticRow

EARLY = 30
"""Epoch of the published early comparison."""
SMOOTH = ("exp_sin", "exp_3x")
CLOSE = 10.0
"""Factor within which two machines count as close."""
SLIGHTLY = 0.02
"""Accuracy by which the CK may be behind the NTK and still count as slightly behind."""
Row = TypeVar("Row", FunctionRow, LogisticRow)


def at_step(run: list[Row], step: int) -> dict[str, Row]:
    """Return the machines of one snapshot by name."""
    return {row.machine: row for row in run if row.step == step}


def last_step(run: list[Row]) -> dict[str, Row]:
    """Return the machines of the last snapshot by name."""
    return at_step(run, run[-1].step)


def function_verdicts(name: str, activation: str, target: str, runs: list[list[FunctionRow]]) -> list[Verdict]:
    """Decide orderings (a) to (e) for one activation and target.

    Errors range over decades, so every ratio is judged by its logarithm: the claim is about the geometric mean over
    seeds, and its Student-t interval is taken on log10.

    Parameters
    ----------
    name : str
        Label of the group.
    activation : str
        relu or tanh.
    target : str
        exp_sin, exp_3x or cos_exp_3x.
    runs : list of list of FunctionRow
        Machine tables, one for each seed.
    """

    def ratios(over: str, under: str, step: int | None = None) -> list[float]:
        found = [last_step(run) if step is None else at_step(run, step) for run in runs]
        return [float(np.log10(e[over].test_rms / e[under].test_rms)) if e else float("nan") for e in found]

    def factor(over: str, under: str, bound: float, step: int | None = None) -> Decided:
        return at_least(ratios(over, under, step), float(np.log10(bound)), f"log10 of test RMSE, {over} over {under}")

    found: list[tuple[str, Decided]] = []
    if target in SMOOTH:
        for kernel in ("ck", "ntk"):
            claim = f"(a) at epoch {EARLY} the {kernel.upper()} machine beats the network threefold"
            found.append((claim, factor("nn", kernel, 3.0, EARLY)))
    orders = {
        ("relu", "exp_sin"): [("nn", "ck", "(b) CK below the network"), ("ntk", "nn", "(b) network below NTK")],
        ("relu", "exp_3x"): [("ck", "nn", "(b) network below CK"), ("ntk", "ck", "(b) CK below NTK")],
    }
    found += [(claim, factor(over, under, 1.0)) for over, under, claim in orders.get((activation, target), [])]
    if (activation, target) == ("relu", "cos_exp_3x"):
        # a gain of up to 10 % counts as no help
        found.append(("(e) negative case: the CK does not help", factor("ck", "nn", 0.9)))
    if activation == "tanh":
        for kernel in ("ck", "ntk"):
            found.append((f"(c) the {kernel.upper()} machine beats the network tenfold", factor("nn", kernel, 10.0)))
        apart = [abs(value) for value in ratios("ck", "ntk")]
        decided = at_most(apart, float(np.log10(CLOSE)), "|log10 of test RMSE, CK over NTK|")
        found.append((f"(c) CK and NTK (Gram) are within a factor of {CLOSE:g}", decided))
        if target in SMOOTH:
            decided = factor("ck", "ck_svd", 100.0)
            found.append(("the feature route is a hundred times better than the Gram", decided))
    bracket = [value for run in runs if (value := last_step(run)["ck"].bracket) is not None]
    found.append(("(d) the CK fitted to the network returns it", at_most(bracket, 7e-5, "RMS distance on test points")))
    return [Verdict(f"{name}: {claim}", d.verdict, d.evidence, "orderings", "derived") for claim, d in found]


def logistic_verdicts(name: str, runs: list[list[LogisticRow]]) -> list[Verdict]:
    """Decide the R2 claims: both machines below the network in cross-entropy, the CK only slightly behind the NTK."""
    last = [last_step(run) for run in runs]
    found = []
    for kernel in ("ck", "ntk"):
        gap = [entry[kernel].cross_entropy - entry["nn"].cross_entropy for entry in last]
        decided = at_most(gap, 0.0, "machine's minus network's test cross-entropy, nats")
        claim = f"{name}: R2: the {kernel.upper()} machine is below the network in cross-entropy"
        found.append(Verdict(claim, decided.verdict, decided.evidence, "well below", "derived, ordering only"))
    behind = [entry["ntk"].accuracy - entry["ck"].accuracy for entry in last]
    decided = at_most(behind, SLIGHTLY, "test accuracy of the NTK machine minus that of the CK machine")
    snapshots = [at_step(run, step) for run in runs for step in sorted({row.step for row in run})]
    ahead = sum(entry["ck"].cross_entropy < entry["ntk"].cross_entropy for entry in snapshots)
    evidence = f"{decided.evidence} The CK is ahead in cross-entropy at {ahead} of {len(snapshots)} snapshots."
    claim = f"{name}: R2: the CK machine is at most slightly behind the NTK machine"
    target = "only slightly behind, at times ahead; bound derived"
    return [*found, Verdict(claim, decided.verdict, evidence, target, "published, no digits")]


def head_verdict(name: str, gain: Sequence[float], epochs: int | None) -> Verdict:
    """Decide R3: a converged last layer is at least as good as the network's own; says what both cost.

    Parameters
    ----------
    name : str
    gain : sequence of float
        Balanced accuracy of the refitted head minus that of the network's own, by run.
    epochs : int or None
        Of the fine-tuning that the network's own head comes from; None without any.
    """
    decided = at_least(gain, 0.0, "gain of balanced accuracy over the network's own head, all rows")
    evidence = decided.evidence
    if epochs is not None:
        # backward counts as two forward passes
        evidence += (
            f" Cost: one forward pass over the training rows and a convex fit, against about {3 * epochs} forward "
            f"passes for {epochs} epochs of fine-tuning."
        )
    claim = f"{name}: R3: a converged last layer is at least as good as the network's own"
    return Verdict(claim, decided.verdict, evidence, "no digits", "published contrast")
