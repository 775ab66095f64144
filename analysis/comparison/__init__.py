"""One call from one's own arrays to a table, a figure and a page: runs, layers of runs, and surrogates."""

from __future__ import annotations

from analysis.comparison.layers import compare_layers
from analysis.comparison.runs import compare_runs
from analysis.comparison.surrogate import surrogate_report

__all__ = ["compare_layers", "compare_runs", "surrogate_report"]
