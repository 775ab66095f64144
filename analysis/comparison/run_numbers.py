"""What a comparison of runs found, as tables, and as a short text when it is printed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from analysis.comparison.measures import MEASURES, Row, estimate
from analysis.comparison.outputs import RunOutputs

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class RunNumbers:
    """Numbers of a comparison of runs.

    Attributes
    ----------
    outputs : RunOutputs
        The runs as they were understood: names, logits, labels.
    rows : tuple of Row
        Numbers with their intervals, also as ``table``.
    metrics, levels : dict of str to ndarray, shape (m,)
        Numbers of each run, also as ``runs``.
    churn, agreement : ndarray, shape (m, m)
        Numbers of each pair, also as ``pairs``.
    delta : float
        Tolerance of the trimming levels.
    growth : ndarray, shape (m - 1,)
        Ambiguity of 2, 3, ... m runs.
    notes : tuple of str
        What was left out, replaced or cannot be said.
    """

    outputs: RunOutputs
    rows: tuple[Row, ...]
    metrics: dict[str, Float[np.ndarray, " m"]]
    levels: dict[str, Float[np.ndarray, " m"]]
    churn: Float[np.ndarray, "m m"]
    agreement: Float[np.ndarray, "m m"]
    delta: float
    growth: Float[np.ndarray, " k"]
    notes: tuple[str, ...]

    @property
    def table(self) -> pd.DataFrame:
        """One row per number: measure, of what, value, 95 % interval, standard deviation, runs, note."""
        import pandas as pd

        return pd.DataFrame([dict(one) for one in self.rows])

    @property
    def runs(self) -> pd.DataFrame:
        """One row per run: its scores, its mean churn and agreement with the others, and its levels."""
        import pandas as pd

        columns: dict[str, Any] = {"run": list(self.outputs.names)}
        columns |= {name: self.metrics[name] for name in ("accuracy", "nll", "brier", "ece")}
        columns["churn"] = self.metrics["churn_mean"]
        columns["churn_to_ensemble"] = self.metrics["churn_logit_mean"]
        columns["error_agreement"] = self.metrics.get("error_agreement", np.full(len(self.churn), math.nan))
        columns |= {f"level_{kind}": level for kind, level in self.levels.items()}
        return pd.DataFrame(columns)

    @property
    def pairs(self) -> pd.DataFrame:
        """One row per pair of runs: churn and agreement of errors."""
        import pandas as pd

        first, second = np.triu_indices(len(self.churn), 1)
        names = self.outputs.names
        return pd.DataFrame(
            {
                "first": [names[i] for i in first],
                "second": [names[i] for i in second],
                "churn": self.churn[first, second],
                "error_agreement": self.agreement[first, second],
            }
        )

    def value(self, measure: str, of: str = "mean run") -> float:
        """Look one number up by its names in ``table``.

        Raises
        ------
        KeyError
            If there is none, with what there is.
        """
        known = {(one["measure"], one["of"]): one["value"] for one in self.rows}
        if (measure, of) not in known:
            of_it = [of for name, of in known if name == measure]
            raise KeyError(f"{measure!r} of {of!r}: choose among {of_it or sorted({name for name, _ in known})}")
        return known[measure, of]

    def __repr__(self) -> str:
        """Show the numbers with their intervals, and the notes."""
        runs, examples, classes = self.outputs.logits.shape
        lines = [f"{runs} runs on {examples:,} examples of {classes} classes; 95 % intervals over runs"]
        shown = [(MEASURES[one["measure"]].heading, one["of"], estimate(one)) for one in self.rows]
        wide = [max(len(line[i]) for line in shown) for i in range(2)]
        before = ""
        for heading, of, number in shown:
            lines.append(f"  {'' if heading == before else heading:<{wide[0]}}  {of:<{wide[1]}}  {number}")
            before = heading
        return "\n".join([*lines, *(f"  Note: {note}" for note in self.notes)])
