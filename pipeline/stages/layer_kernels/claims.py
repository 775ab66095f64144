"""Claim on layer kernels: every route gives the same kernel."""

from __future__ import annotations

from analysis.verdicts import Claim, Standing, identity
from pipeline.engine.build import Gathered

TOLERANCE = 1e-10
"""Largest entry difference, in units of sqrt(K_ii K_jj), below which two float64 routes agree."""


def routes_agree(members: list[Gathered]) -> Claim:
    """Decide on the largest entry difference of every network."""
    differences = [float(member.artifact.metrics["largest_difference"]) for member in members]
    return Claim(
        "Identity",
        "all routes to the kernel (loop, vmap, Jacobian, layer rules, sum of parts) agree in float64",
        identity(differences, TOLERANCE, what="largest entry difference to the float64 loop"),
        published="numerical identity",
        standing=Standing("derived"),
    )
