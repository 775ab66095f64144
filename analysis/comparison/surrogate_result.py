"""What a comparison of a network with kernel machines found: a table, one figure, a page, and a short text."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from jaxtyping import Bool, Float

from analysis.verdicts import format_estimate

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

HEADINGS = {
    ("accuracy", "network"): "accuracy of the network",
    ("accuracy", "surrogate"): "accuracy of the machine",
    ("tad", ""): "machine minus network (TAD)",
    ("agreement", ""): "same decision",
    ("kendall", "correct"): "Kendall τ, true class",
    ("kendall", "predicted"): "Kendall τ, network's class",
    ("spearman", "correct"): "Spearman ρ, true class",
    ("r2", "correct"): "R², true class",
    ("r_miss", "nn"): "errors repeated (R_miss)",
    ("r_miss", "jaccard"): "errors shared (Jaccard)",
    ("ece", "network"): "calibration error of the network",
    ("ece", "surrogate"): "calibration error of the machine",
    ("nll", "network"): "loss of the network, nats",
    ("nll", "surrogate"): "loss of the machine, nats",
}
"""Rows that are printed, in their order; ``table`` has more."""
METRICS = {"kendall": "Kendall τ", "spearman": "Spearman ρ", "r2": "R²", "r_miss": "shared errors"}
VARIANTS = {
    "correct": "of the true class",
    "predicted": "of the network's class",
    "every": "of every class",
    "wrong": "of the strongest wrong class",
    "margin": "of the margin",
    "null p-value": "p if errors fell independently",
}
"""What further rows of the page are about."""


class SurrogateRow(TypedDict):
    """One measure of one kernel's machine."""

    kernel: str
    metric: str
    variant: str
    value: float
    low: float
    high: float
    points: int
    note: str


@dataclass(frozen=True, eq=False, repr=False)
class SurrogateComparison:
    """How closely kernel machines follow a network; made by `analysis.surrogate_report`.

    Attributes
    ----------
    rows : tuple of SurrogateRow
        Measures with their intervals over test points, also as ``table``.
    machines : dict of str to estimator
        Fitted, by kernel; `analysis.attribute` takes their ``weights_`` and ``offsets_`` apart.
    scores : dict of str to ndarray, shape (m, C)
        Their log-scores on the test points.
    network : ndarray, shape (m, C)
        The network's logits.
    right : ndarray of bool, shape (m,)
        Where the network is right.
    confidence : ndarray, shape (2, m)
        Log-odds of the true class, of the network and of the first kernel's machine.
    n_train : int
        Training points.
    notes : tuple of str
        What was replaced, and what solvers say.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis import surrogate_report
    >>> x = np.random.default_rng(0).normal(size=(60, 2))
    >>> labels, kernel = (x[:, 0] > 0).astype(int), x @ x.T
    >>> result = surrogate_report(kernel[:40, :40], kernel[40:, :40], (labels[:40], labels[40:]), 3 * x[40:, 0])
    >>> result.value("accuracy", "network")
    1.0
    """

    rows: tuple[SurrogateRow, ...]
    machines: dict[str, Any]
    scores: dict[str, Float[np.ndarray, "m C"]]
    network: Float[np.ndarray, "m C"]
    right: Bool[np.ndarray, " m"]
    confidence: Float[np.ndarray, "2 m"]
    n_train: int
    notes: tuple[str, ...]

    @property
    def table(self) -> pd.DataFrame:
        """One row per kernel and measure: value, 95 % interval over test points, points behind it, note."""
        import pandas as pd

        return pd.DataFrame([dict(row) for row in self.rows])

    def value(self, metric: str, variant: str = "", kernel: str | None = None) -> float:
        """Look one number up by its names in ``table``; the first kernel's where none is named.

        Raises
        ------
        KeyError
            If there is none, with what there is.
        """
        chosen = kernel or next(iter(self.machines))
        known = {(row["kernel"], row["metric"], row["variant"]): row["value"] for row in self.rows}
        if (chosen, metric, variant) not in known:
            there = sorted({f"{name} {of}".strip() for _, name, of in known})
            raise KeyError(f"{metric!r} {variant!r} of {chosen!r}: kernels {list(self.machines)}, measures {there}")
        return known[chosen, metric, variant]

    def _estimates(self) -> dict[tuple[str, str, str], str]:
        """Write every number with its interval."""
        return {
            (row["kernel"], row["metric"], row["variant"]): row["note"]
            if row["value"] != row["value"]
            else format_estimate(row["value"], row["low"], row["high"], signed=row["metric"] == "tad")
            for row in self.rows
        }

    def __repr__(self) -> str:
        """Show the main measures of every kernel, and the notes."""
        points, classes = self.network.shape
        found = self._estimates()
        lines = [
            f"{self.n_train:,} training points, {points:,} test points, {classes} classes; 95 % intervals over test "
            "points"
        ]
        wide = max(map(len, HEADINGS.values()))
        for kernel in self.machines:
            lines += [f"  {kernel}"] if len(self.machines) > 1 else []
            lines += [f"  {heading:<{wide}}  {found[(kernel, *key)]}" for key, heading in HEADINGS.items()]
        return "\n".join([*lines, *(f"  Note: {note}" for note in self.notes)])

    def plot(self) -> Figure:
        """Draw τ and agreement of every kernel, and each test point's confidence by both models.

        Returns
        -------
        Figure
            Of matplotlib.
        """
        from analysis.style import in_style

        return in_style(self._drawn)()

    def _drawn(self) -> Figure:
        from analysis.attribution.figures import draw_intervals, scatter_confidences
        from analysis.style import new_figure

        shown: dict[str, tuple[float, float, float]] = {}
        several = len(self.machines) > 1
        for row in self.rows:
            key = row["metric"], row["variant"]
            if key in (("kendall", "correct"), ("agreement", ""), ("r_miss", "nn")) and row["value"] == row["value"]:
                heading = f"{row['kernel']}: {HEADINGS[key]}" if several else HEADINGS[key]
                shown[heading] = (row["value"], row["low"], row["high"])
        figure, axes = new_figure(1, 2, width=4.8, height=max(3.4, 0.9 + 0.34 * len(shown)))
        first = next(iter(self.machines))
        draw_intervals(axes[0, 0], shown, label="share, or rank correlation", title="How closely the machine follows")
        tau = f"τ = {self.value('kendall', 'correct'):.3f}"
        title = f"{first}: log-odds of the true class, {tau}" if several else f"Log-odds of the true class, {tau}"
        scatter_confidences(axes[0, 1], self.confidence[0], self.confidence[1], self.right, title=title)
        return figure

    def report(
        self, path: str | os.PathLike[str], *, title: str = "Does the kernel machine follow its network?"
    ) -> Path:
        """Write everything as one HTML page, in the look of the pipeline's reports.

        Parameters
        ----------
        path : path
            Where the page goes; a file that is there is replaced.
        title : str
            Its title.
        """
        from analysis.pages import Finding, Headline, Picture, Section, Table, Text, write_page
        from analysis.pages.blocks import Block

        found = self._estimates()
        points, classes = self.network.shape
        several = len(self.machines) > 1
        rows = [[*([key[0]] if several else []), self._named(key[1], key[2]), text] for key, text in found.items()]
        picture = Picture(
            self.plot(),
            "Bars: rank correlation of the confidences, share of equal decisions, share of the network's errors that "
            "the machine repeats. Scatter: every test point by the log-odds of its true class.",
            "How closely the machine follows its network, and the confidence of both in every test point",
            raster=points > 2000,
        )
        table = Table(
            [*(["kernel"] if several else []), "measure", "estimate [95 %]"],
            rows,
            f"{points:,} test points; percentile bootstrap over them: the network and its kernel are fixed. τ and ρ "
            "rank log-odds, so that no confidence saturates; R_miss is the share of the network's errors that the "
            "machine repeats.",
        )
        leads = [
            f"{f'The machine on {kernel}' if several else 'The machine'} decides like its network on a share of "
            f"{found[kernel, 'agreement', '']} of the {points:,} test points, and orders them by confidence as the "
            f"network does with Kendall's τ of {found[kernel, 'kendall', 'correct']}, where 1 is the same order."
            for kernel in self.machines
        ]
        asked = [("kendall", "correct"), ("agreement", "")]
        short = Table(
            [*(["kernel"] if several else []), "Kendall τ", "equal decisions"],
            [[*([kernel] if several else []), *(found[kernel, *key] for key in asked)] for kernel in self.machines],
            f"The kernel machine against its network on {points:,} test points; 95 % intervals over them.",
        )
        headline = Headline("tau", "", leads[0], short.first(), picture)
        blocks: list[Block] = [*map(Finding, leads[1:]), table, *map(Text, self.notes)]
        section = Section("Surrogates", blocks, [headline])
        facts = [("training points", f"{self.n_train:,}"), ("test points", f"{points:,}"), ("classes", str(classes))]
        return write_page(path, title, [section], facts=facts)

    @staticmethod
    def _named(metric: str, variant: str) -> str:
        further = f"{METRICS.get(metric, metric.replace('_', ' '))}, {VARIANTS.get(variant, variant)}"
        return HEADINGS.get((metric, variant), further)
