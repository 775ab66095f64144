"""Verdict on layer kernels: whether every route gives the same kernel."""

from __future__ import annotations

from analysis.verdicts.superseded import at_most
from pipeline.engine.build import Gathered
from pipeline.reporting.blocks import Verdict

TOLERANCE = 1e-10
"""Largest entry difference, in units of sqrt(K_ii K_jj), below which two float64 routes agree."""


def routes_agree(members: list[Gathered]) -> Verdict:
    """Decide on the largest entry difference of every network."""
    differences = [float(member.artifact.metrics["largest_difference"]) for member in members]
    decided = at_most(differences, TOLERANCE, "largest entry difference to the float64 loop")
    return Verdict(
        "All routes to the kernel (loop, vmap, Jacobian, layer rules, sum of parts) agree in float64",
        decided.verdict,
        decided.evidence,
        target="numerical identity",
        standing="derived",
    )
