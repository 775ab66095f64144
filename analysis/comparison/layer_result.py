"""What a comparison of layers found: tables, one figure, a page, and a short text when it is printed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from jaxtyping import Float

from analysis.comparison.layer_measures import NAMES, MeasureRow
from analysis.verdicts import format_estimate

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from analysis.pages import Headline
    from analysis.pages.blocks import Block


class LayerRow(TypedDict):
    """Mean CKA of two layers, of different runs or within one."""

    layer: str
    other: str
    between: str
    value: float
    low: float
    high: float
    runs: int


@dataclass(frozen=True, eq=False, repr=False)
class LayerComparison:
    """How alike the layers of several runs are; made by `analysis.compare_layers`.

    Attributes
    ----------
    runs, layers : tuple of str
        Names.
    cka : ndarray, shape (r, l, r, l)
        Unbiased CKA of every layer of every run with every other; NaN for layers that do not vary.
    rows : tuple of LayerRow
        Means over runs with their intervals, also as ``table``.
    examples : int
        Rows that were compared.
    route : str
        How the features were read.
    memory : int
        Bytes that this took at most, beside what was handed over.
    notes : tuple of str
        What has no number.
    further : tuple of MeasureRow
        Each layer between seeds by the further measures that were asked for, also as ``measures``.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis import compare_layers
    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> compare_layers({"seed 0": {"last": x}, "seed 1": {"last": x[:, :2]}})
    1 layer of 2 runs on 50 examples, unbiased CKA
      last  between seeds 0.59
      Note: 2 runs: too few for intervals over seeds.
    """

    runs: tuple[str, ...]
    layers: tuple[str, ...]
    cka: Float[np.ndarray, "r l r l"]
    rows: tuple[LayerRow, ...]
    examples: int
    route: str
    memory: int
    notes: tuple[str, ...]
    further: tuple[MeasureRow, ...] = ()

    @property
    def measures(self) -> pd.DataFrame:
        """One row per layer and further measure: mean between seeds, 95 % interval over runs, value by chance."""
        import pandas as pd

        return pd.DataFrame([dict(row) for row in self.further])

    @property
    def table(self) -> pd.DataFrame:
        """One row per two layers, between seeds and within one: mean CKA, 95 % interval over runs, runs."""
        import pandas as pd

        return pd.DataFrame([dict(row) for row in self.rows])

    @property
    def pairs(self) -> pd.DataFrame:
        """One row per two layers of two runs."""
        import pandas as pd

        count = len(self.runs) * len(self.layers)
        flat = self.cka.reshape(count, count)
        names = [(run, layer) for run in self.runs for layer in self.layers]
        first, second = np.triu_indices(count, 1)
        return pd.DataFrame(
            {
                "run": [names[i][0] for i in first],
                "layer": [names[i][1] for i in first],
                "other_run": [names[i][0] for i in second],
                "other_layer": [names[i][1] for i in second],
                "cka": flat[first, second],
            }
        )

    @property
    def between_seeds(self) -> Float[np.ndarray, "l l"]:
        """Mean CKA of layers of different runs, the same layer on the diagonal; NaN for one run."""
        runs, layers = len(self.runs), len(self.layers)
        apart = ~np.eye(runs, dtype=bool)
        if runs < 2:
            return np.full((layers, layers), np.nan)
        both = self.cka.transpose(0, 2, 1, 3)[apart].mean(axis=0)
        return (both + both.T) / 2

    @property
    def within_a_seed(self) -> Float[np.ndarray, "l l"]:
        """Mean CKA of the layers of one run."""
        return np.einsum("aiaj->aij", self.cka).mean(axis=0)

    def __repr__(self) -> str:
        """Show how alike each layer is between seeds, and the notes."""
        runs, layers = len(self.runs), len(self.layers)
        lines = [
            f"{layers} layer{'s' * (layers > 1)} of {runs} run{'s' * (runs > 1)} on {self.examples:,} examples, "
            "unbiased CKA" + ("; 95 % intervals over runs" if runs > 2 else "")
        ]
        shown = [row for row in self.rows if (row["between"] == "seeds" and row["layer"] == row["other"]) or runs < 2]
        wide = max((len(_pair(row)) for row in shown), default=0)
        between = "between seeds " if runs > 1 else ""
        lines += [f"  {_pair(row):<{wide}}  {between}{estimate(row)}" for row in shown]
        lines += [
            f"  {row['layer']:<{wide}}  {NAMES[row['measure']]} {_estimate(row)} (by chance {row['chance']:.2f})"
            for row in self.further
        ]
        return "\n".join([*lines, *(f"  Note: {note}" for note in self.notes)])

    def plot(self) -> Figure:
        """Draw the layers against each other, between seeds and within one, and each layer between seeds.

        Returns
        -------
        Figure
            Of matplotlib.
        """
        from analysis.comparison.layer_figure import layer_figure

        same = [row for row in self.rows if row["between"] == "seeds" and row["layer"] == row["other"]]
        ends = np.array([[row["value"], row["low"], row["high"]] for row in same]).reshape(-1, 3)
        return layer_figure(self.layers, self.between_seeds, self.within_a_seed, ends, len(self.runs))

    def report(self, path: str | os.PathLike[str], *, title: str = "How alike are the layers?") -> Path:
        """Write everything as one HTML page, in the look of the pipeline's reports.

        Parameters
        ----------
        path : path
            Where the page goes; a file that is there is replaced.
        title : str
            Its title.
        """
        from analysis.pages import Section, write_page

        section = Section("Layers", self.blocks(), self.headlines())
        facts = [
            ("runs", str(len(self.runs))),
            ("layers", str(len(self.layers))),
            ("examples", f"{self.examples:,}"),
            ("read", self.route),
            ("memory", f"{self.memory / 2**20:,.1f} MiB at most"),
        ]
        return write_page(path, title, [section], facts=facts)

    def blocks(self, about: str = "", **source: Any) -> list[Block]:
        """Give figures, tables and notes as blocks of a page.

        Parameters
        ----------
        about : str
            What is compared, before every caption; of several networks on one page.
        **source
            ``keys`` and ``command`` of the tables, see `analysis.pages.Table`.
        """
        from analysis.pages import Picture, Table, Text

        rows = [[row["layer"], row["other"], row["between"], estimate(row), row["runs"]] for row in self.rows]
        maps: list[Block] = [
            Picture(
                self.plot(),
                f"{about}Unbiased CKA of linear kernels. Panels: layers of different runs, the same layer "
                "on the diagonal; layers of one run, mean over runs; each layer between seeds, with its interval.",
                "Maps of CKA between layers of different runs and of one run, and CKA of each layer between runs",
            )
        ]
        return [
            *(maps if len(self.layers) > 1 else []),  # the table says as much of a single layer
            Table(
                ["layer", "with", "between", "CKA [95 %]", "runs"],
                rows,
                f"{about}Means over pairs of runs, or over runs; intervals leave one run out at a time (jackknife), on "
                f"the same {self.examples:,} examples. CKA is 1 for layers that agree up to rotation and scale, about "
                "0 for unrelated ones.",
                **source,
            ),
            *self._further(about, source),
            *(Text(note) for note in self.notes),
        ]

    def _further(self, about: str, source: dict[str, Any]) -> list[Block]:
        """Show each layer between seeds by the further measures."""
        from analysis.comparison.layer_figure import measures_figure
        from analysis.pages import Picture, Table

        if not self.further:
            return []
        rows = [[row["layer"], NAMES[row["measure"]], _estimate(row), f"{row['chance']:.2f}"] for row in self.further]
        drawn: list[Block] = [
            Picture(
                measures_figure(self.layers, self.further),
                f"{about}Each layer between seeds by other measures; dashed: what unrelated layers of this size give.",
                "Similarity of each layer between runs after the best rotation, and its neighbors in common",
            )
        ]
        return [
            *(drawn if len(self.layers) > 1 else []),
            Table(
                ["layer", "measure", "between seeds [95 %]", "by chance"],
                rows,
                f"{about}Similarity after the best rotation: the sum of singular values of XᵀY over the norms, of "
                "centered features; by chance: that with the examples of one run moved by one place. Neighbors in "
                "common: share of each example's nearest other examples. Means over pairs of runs, jackknife.",
                **source,
            ),
        ]

    def headlines(self) -> list[Headline]:
        """Name the least alike layer between seeds; of one run, there is nothing between seeds to say."""
        from analysis.pages import Headline, Table

        same = [row for row in self.rows if row["between"] == "seeds" and row["layer"] == row["other"]]
        same.sort(key=lambda row: row["value"])
        if not same:
            return []
        table = Table(
            ["layer", "CKA between seeds"],
            [[row["layer"], estimate(row)] for row in same],
            f"Least alike layers first; {len(self.runs)} runs, {self.examples:,} examples, 95 % intervals over runs.",
        )
        least, most = same[0], same[-1]
        runs = f"n = {len(self.runs)} runs"
        if len(same) == 1:
            answer = f"Between seeds, CKA of the layer {least['layer']} is {estimate(least)}, {runs}."
        else:
            answer = f"Between seeds, {least['layer']} is the least alike: CKA {estimate(least)}, {runs}; "
            answer += f"{most['layer']} the most: {estimate(most)}."
        return [Headline("layers", "", answer, table.first())]


def _estimate(row: MeasureRow) -> str:
    return format_estimate(row["value"], row["low"], row["high"]).removesuffix(" (no interval)")


def _pair(row: LayerRow) -> str:
    return row["layer"] if row["layer"] == row["other"] else f"{row['layer']}, {row['other']}"


def estimate(row: LayerRow) -> str:
    """Write a CKA with its interval, in the digits that this allows."""
    return format_estimate(row["value"], row["low"], row["high"]).removesuffix(" (no interval)")
