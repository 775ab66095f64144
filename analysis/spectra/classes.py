"""Name what training did to a spectrum: invariant bulk, bulk with spikes, heavy or deformed, or mixed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

SpectralLabel = Literal["invariant", "bulk+spike", "heavy/deformed", "mixed", "undecided"]


@dataclass(frozen=True)
class ClassThresholds:
    """Cut-offs of the class rule; they were derived on the two-layer toy model.

    Attributes
    ----------
    still : float
        Largest KS distance to the start of an invariant bulk.
    deformed : float
        KS distance to the start from which a bulk counts as deformed.
    aligned : float
        Overlap of the leading vector with the data's direction from which a change counts as aligned.
    few : int
        Most outliers of a bulk with spikes.
    """

    still: float = 0.02
    deformed: float = 0.03
    aligned: float = 0.3
    few: int = 5


@dataclass(frozen=True)
class SpectralClass:
    """A label with the evidence that gave it.

    Attributes
    ----------
    label : str
        ``invariant``, ``bulk+spike``, ``heavy/deformed``, ``mixed`` or ``undecided``.
    aligned : bool or None
        Whether the leading vector points along the data's direction: features if so, noise if not. None
        where no direction is known.
    evidence : str
        The numbers, and the rule that they met or broke.
    """

    label: SpectralLabel
    aligned: bool | None
    evidence: str


def classify_spectrum(
    outliers: int,
    ks_start: float,
    alignment: float = math.nan,
    thresholds: ClassThresholds | None = None,
    *,
    size: int | None = None,
) -> SpectralClass:
    """Classify one trained spectrum.

    *invariant*: no outlier, KS to the start below ``still``, unaligned; *bulk+spike*: one to ``few``
    outliers over a bulk that moved less than ``deformed``; *heavy/deformed*: more outliers and a bulk
    that moved at least that far; *mixed*: anything else.

    Parameters
    ----------
    outliers : int
        Eigenvalues beyond the edge; negative where no law applies.
    ks_start : float
        KS distance to the run's own spectrum at the start.
    alignment : float
        Overlap of the leading right singular vector with the teacher's or the data's direction. NaN
        where there is none: an invariant bulk is then judged by the other two numbers alone.
    thresholds : ClassThresholds, optional
    size : int, optional
        Number of eigenvalues k. The distance moves in steps of 1/k, so on a short spectrum *still* allows
        one step and *deformed* needs three.

    Examples
    --------
    >>> from analysis.spectra import classify_spectrum
    >>> found = classify_spectrum(outliers=2, ks_start=0.01, alignment=0.8)
    >>> found.label, found.aligned
    ('bulk+spike', True)
    """
    t = thresholds or ClassThresholds()
    if size is not None:
        t = replace(t, still=max(t.still, 1.5 / size), deformed=max(t.deformed, 2.5 / size))
    known = not math.isnan(alignment)
    aligned = alignment >= t.aligned if known else None
    shown = f"n_out = {outliers}, KS to start = {ks_start:.4f}, alignment = " + (
        f"{alignment:.2f}" if known else "unknown"
    )
    if math.isnan(ks_start) or outliers < 0:
        missing = "no first spectrum" if math.isnan(ks_start) else "no law to count outliers against"
        return SpectralClass("undecided", aligned, f"{shown}: {missing}")
    if outliers == 0 and ks_start < t.still and not aligned:
        rule = f"no outlier, KS < {t.still:.3g}" + (f", alignment < {t.aligned}" if known else "")
        return SpectralClass("invariant", aligned, f"{shown}: {rule}")
    if 1 <= outliers <= t.few and ks_start < t.deformed:
        return SpectralClass("bulk+spike", aligned, f"{shown}: 1 to {t.few} outliers, KS < {t.deformed:.3g}")
    if outliers > t.few and ks_start >= t.deformed:
        kind = {True: ", aligned: features", False: ", unaligned: noise", None: ""}[aligned]
        return SpectralClass(
            "heavy/deformed", aligned, f"{shown}: more than {t.few} outliers, KS >= {t.deformed:.3g}{kind}"
        )
    return SpectralClass("mixed", aligned, f"{shown}: meets no single rule")
