"""Decide the orderings of the kernel-regression study (R1 to R3 of arXiv:2310.18612) over seeds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from analysis.verdicts import Claim, Decided, Standing, above, below, equivalent
from pipeline.stages.regression.read import FunctionRow, LogisticRow

EARLY = 30
"""Epoch of the published early comparison."""
SMOOTH = ("exp_sin", "exp_3x")
RATIO_MARGIN = math.log10(1.05)
"""Margin of every ratio of errors, on log10: five percent of an error."""
CLOSE = 10.0
"""Factor within which two machines count as close."""
NO_HELP = 0.86
"""Ratio of errors from which on a machine does not help: a gain below a tenth counts as none."""
RETURNED = 7e-5
"""RMS distance at which a machine fitted to the network returns it."""
NATS_MARGIN = 0.01
"""Difference of test cross-entropy that counts; guessing by class shares costs 0.69 nats."""
SLIGHTLY, ACCURACY_MARGIN = 0.02, 0.002
"""Accuracy by which the CK may be behind the NTK and still count as slightly behind; one of the 506 test points."""
HEAD_BEHIND, HEAD_MARGIN = 0.02, 0.01
"""Balanced accuracy that a refitted head may be behind the network's own: at most one point."""
FIELDS = ("data", "model", "training", "numerics", "snapshots.steps", "regression", "seeds")
HEAD_FIELDS = ("data", "model", "training", "weights", "features", "regression", "seeds")
ORDERINGS = Standing("derived", band="ours")
"""The orderings (a) to (e) come from our own computation; the paper's table was not seen."""
Row = TypeVar("Row", FunctionRow, LogisticRow)
SPOKEN = {"nn": "network", "ck": "CK", "ntk": "NTK", "ck_svd": "CK through features"}


def at_step(run: list[Row], step: int) -> dict[str, Row]:
    """Return the machines of one snapshot by name."""
    return {row.machine: row for row in run if row.step == step}


def last_step(run: list[Row]) -> dict[str, Row]:
    """Return the machines of the last snapshot by name."""
    return at_step(run, run[-1].step)


def function_claims(name: str, activation: str, target: str, runs: list[list[FunctionRow]]) -> list[Claim]:
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
        what = f"log10 of test RMSE, {SPOKEN[over]} over {SPOKEN[under]}"
        return above(ratios(over, under, step), float(np.log10(bound)), margin=RATIO_MARGIN, what=what)

    found: list[tuple[str, str, Decided]] = []
    if target in SMOOTH:
        for kernel in ("ck", "ntk"):
            claim = f"at epoch {EARLY} the {kernel.upper()} machine beats the network threefold"
            found.append(("(a)", claim, factor("nn", kernel, 3.0, EARLY)))
    orders = {
        ("relu", "exp_sin"): [("nn", "ck", "CK below the network"), ("ntk", "nn", "network below NTK")],
        ("relu", "exp_3x"): [("ck", "nn", "network below CK"), ("ntk", "ck", "CK below NTK")],
    }
    found += [("(b)", claim, factor(over, under, 1.0)) for over, under, claim in orders.get((activation, target), [])]
    if (activation, target) == ("relu", "cos_exp_3x"):
        found.append(("(e)", "negative case: the CK does not help", factor("ck", "nn", NO_HELP)))
    if activation == "tanh":
        for kernel in ("ck", "ntk"):
            found.append(("(c)", f"the {kernel.upper()} machine beats the network tenfold", factor("nn", kernel, 10.0)))
        what = "log10 of test RMSE, CK over NTK"
        decided = equivalent(ratios("ck", "ntk"), 0.0, margin=float(np.log10(CLOSE)), what=what)
        found.append(("(c)", f"CK and NTK (Gram) are within a factor of {CLOSE:g}", decided))
        if target in SMOOTH:
            decided = factor("ck", "ck_svd", 100.0)
            found.append(("features", "the feature route is a hundred times better than the Gram", decided))
    bracket = [row.bracket for run in runs if (row := last_step(run)["ck"])]
    logs = [float("nan") if value is None else float(np.log10(max(value, 1e-300))) for value in bracket]
    what = "log10 of the RMS distance on test points"
    decided = below(logs, float(np.log10(RETURNED)), margin=RATIO_MARGIN, what=what)
    found.append(("(d)", "the CK fitted to the network returns it", decided))
    return [
        Claim(f"R1{label} of {name}", f"{name}: R1: {claim}", decided, FIELDS, "orderings", ORDERINGS)
        for label, claim, decided in found
    ]


def logistic_claims(name: str, runs: list[list[LogisticRow]], protocol: str) -> list[Claim]:
    """Decide the R2 claims: both machines below the network in cross-entropy, the CK only slightly behind the NTK.

    Both kernels are those of the logit difference, so that one penalty weighs alike on them. The publication has no
    penalty: what is claimed with one, by another ``protocol`` than "published", is claimed by us alone.
    """
    published = protocol == "published"
    called = "R2" if published else "R2 with a penalty:"
    last = [last_step(run) for run in runs]
    claims = []
    for kernel in ("ck", "ntk"):
        gap = [entry["nn"].cross_entropy - entry[kernel].cross_entropy for entry in last]
        what = "network's minus machine's test cross-entropy, nats"
        decided = above(gap, 0.0, margin=NATS_MARGIN, what=what)
        statement = f"{name}: R2: the {kernel.upper()} machine is below the network in cross-entropy"
        standing = Standing("derived" if published else "ours", band="ours")
        claims.append(Claim(f"{called} {kernel.upper()} of {name}", statement, decided, FIELDS, "well below", standing))
    behind = [entry["ntk"].accuracy - entry["ck"].accuracy for entry in last]
    what = "test accuracy of the NTK machine minus that of the CK machine"
    decided = below(behind, SLIGHTLY, margin=ACCURACY_MARGIN, what=what)
    snapshots = [at_step(run, step) for run in runs for step in sorted({row.step for row in run})]
    ahead = sum(entry["ck"].cross_entropy < entry["ntk"].cross_entropy for entry in snapshots)
    statement = f"{name}: R2: the CK machine is at most slightly behind the NTK machine"
    more = f"{decided.evidence} The CK is ahead in cross-entropy at {ahead} of {len(snapshots)} snapshots."
    decided = dataclasses.replace(decided, evidence=more)
    standing = Standing("published" if published else "ours", band="ours")
    target = "only slightly behind, at times ahead"
    return [*claims, Claim(f"{called} order of {name}", statement, decided, FIELDS, target, standing)]


def head_claim(name: str, gain: Sequence[float]) -> Claim:
    """Decide R3: a converged last layer is at least as good as the network's own, to one point.

    Parameters
    ----------
    name : str
    gain : sequence of float
        Balanced accuracy of the refitted head minus that of the network's own, by run.
    """
    what = "gain of balanced accuracy over the network's own head, all rows"
    decided = above(gain, -HEAD_BEHIND, margin=HEAD_MARGIN, what=what)
    statement = f"{name}: R3: a converged last layer is at least as good as the network's own, to one point"
    standing = Standing("published", band="ours")
    return Claim(f"R3 of {name}", statement, decided, HEAD_FIELDS, "no digits", standing)


def head_cost(epochs: int) -> str:
    """Compare what both heads cost, for the fine-tuning that the network's own head comes from."""
    # backward counts as two forward passes
    return (
        f"Cost of a refitted head: one forward pass over the training rows and a convex fit, against about "
        f"{3 * epochs} forward passes for {epochs} epochs of fine-tuning."
    )
