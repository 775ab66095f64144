"""What a comparison of runs found: numbers, one figure and a page."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.comparison.run_numbers import RunNumbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False, repr=False)
class RunComparison(RunNumbers):
    """How different several runs are; made by `analysis.compare_runs`.

    Attributes
    ----------
    table, runs, pairs : pandas.DataFrame
        Numbers with their intervals; one row per run; one row per pair. See `RunNumbers` for the arrays behind them.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis import compare_runs
    >>> gaps = np.random.default_rng(0).normal(size=(3, 50)) + np.linspace(-3, 3, 50)
    >>> result = compare_runs(list(gaps), (np.linspace(-3, 3, 50) > 0).astype(int))
    >>> result.runs[["run", "accuracy", "churn"]].round(2)
         run  accuracy  churn
    0  run 0      0.84   0.21
    1  run 1      0.80   0.25
    2  run 2      0.78   0.22
    """

    def plot(self) -> Figure:
        """Draw accuracy, churn, trimming levels and the growth of ambiguity in one figure.

        Returns
        -------
        Figure
            Of matplotlib; ``figure.savefig("runs.png")`` writes it.
        """
        from analysis.comparison.run_figure import run_figure

        return run_figure(self)

    def report(self, path: str | os.PathLike[str], *, title: str = "How different are these runs?") -> Path:
        """Write everything as one HTML page, in the look of the pipeline's reports.

        Parameters
        ----------
        path : path
            Where the page goes; a file that is there is replaced.
        title : str
            Its title.

        Returns
        -------
        Path
            The file's absolute path.
        """
        from analysis.comparison.run_page import run_sections
        from analysis.pages import write_page

        runs, examples, classes = self.outputs.logits.shape
        facts = [("runs", str(runs)), ("examples", f"{examples:,}"), ("classes", str(classes))]
        return write_page(path, title, run_sections(self), facts=facts)
