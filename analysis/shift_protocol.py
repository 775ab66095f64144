"""Which two-sample procedures are refused, and why: measured on null draws, not argued.

Rates are rejections at a nominal 5 % over 300 draws of 100 against 100 texts from one source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_REASONS = {
    ("ks_basis", "reference"): "a PCA fitted on one side makes that side fit better than the other: 8.7 % with 10 "
    "components and 9.3 % with 50. Fit the basis on the pooled rows",
    ("ks_basis", "sample"): "a PCA fitted on one side is not exchangeable between sides (8.7 % and more). Fit the "
    "basis on the pooled rows",
    ("c2st", "cross_validated_binomial"): "pooled cross-validated predictions are dependent between folds: 7.7 %. "
    "Use one split with the binomial p, or permute and refit everything",
    ("tuning", "tested_data"): "bandwidth, layer or pooling picked on the data that are tested inflates every "
    "p-value. Fix them before, or pick them on other rows",
    ("projection", "domain_labels"): "a projection learnt from domain labels and tested on the same rows finds a "
    "difference in noise. Split the rows, or use a label-blind basis",
    ("frechet", "threshold"): "the plug-in Fréchet distance is biased upwards when n < d, so no fixed threshold has "
    "a known level. Use its permutation p",
}


@dataclass(frozen=True)
class ShiftProtocol:
    """How the tests are run. Invalid choices exist as names so that asking for one says why it is refused.

    Attributes
    ----------
    ks_basis : {"pooled", "reference", "sample"}
        Rows that the PCA before the KS tests is fitted on.
    c2st : {"split_binomial", "cross_validated_permutation", "cross_validated_binomial"}
        Classifier test.
    tuning : {"fixed", "held_out", "tested_data"}
        Where bandwidth, layer and pooling come from.
    projection : {"none", "pooled_pca", "domain_labels"}
        Projection before the tests.
    frechet : {"permutation", "threshold"}
        How the Fréchet distance is judged.

    Raises
    ------
    ValueError
        For each invalid choice, with the measured reason and what to do instead.
    """

    ks_basis: Literal["pooled", "reference", "sample"] = "pooled"
    c2st: Literal["split_binomial", "cross_validated_permutation", "cross_validated_binomial"] = "split_binomial"
    tuning: Literal["fixed", "held_out", "tested_data"] = "fixed"
    projection: Literal["none", "pooled_pca", "domain_labels"] = "none"
    frechet: Literal["permutation", "threshold"] = "permutation"

    def __post_init__(self) -> None:
        """Refuse the invalid."""
        for name in ("ks_basis", "c2st", "tuning", "projection", "frechet"):
            value = getattr(self, name)
            if (name, value) in _REASONS:
                raise ValueError(f"shift: {name}={value} is not a valid test: {_REASONS[name, value]}.")
