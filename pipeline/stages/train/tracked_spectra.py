"""Send a run's spectra to a tracker while it trains: histograms and a picture at every snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors.torch import load_file
from torch import Tensor

from pipeline.tracking.base import Tracker
from pipeline.training.snapshot_schedule import record_file, step_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 4
"""Matrices in the picture, those with most singular values: the same ones at every step."""


def track_snapshot(tracker: Tracker, folder: Path, step: int, files: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Send one snapshot's spectra to a tracker.

    ``spectra/MATRIX`` is the histogram of a matrix's singular values, ``spectra`` a picture of the largest matrices'
    eigenvalues before training and now.

    Parameters
    ----------
    tracker : Tracker
    folder : Path
        Where the run's snapshots are; the one of step 0 is what the picture compares with.
    step : int
    files : mapping
        Arrays by record, as :class:`pipeline.training.snapshots.SnapshotWriter` passes them. Spectra that are not
        finite are left out.
    """
    found = {label: values.numpy() for label, values in files.get("spectra", {}).items() if values.isfinite().all()}
    for label, values in found.items():
        tracker.histogram(f"spectra/{label}", values, step)
    if found and tracker.shows_images:
        from analysis.style import png_bytes

        first = folder / step_folder(0) / record_file("spectra")
        start = {label: values.numpy() for label, values in load_file(first).items()} if first.exists() else found
        tracker.image("spectra", png_bytes(spectra_figure(start, found)), step)


def spectra_figure(start: Mapping[str, np.ndarray], now: Mapping[str, np.ndarray]) -> Figure:
    """Draw the eigenvalues of the largest matrices before training and now, in units of their first mean.

    Parameters
    ----------
    start, now : mapping of str to ndarray (k,)
        Singular values by matrix.
    """
    from analysis.spectra.figures import SpectrumPanel, figure_spectra

    shown = sorted(now, key=lambda label: -now[label].size)[:SHOWN]
    panels = []
    for label in shown:
        unit = float(np.mean(start[label] ** 2)) or 1.0
        panels.append(SpectrumPanel(label, start[label] ** 2 / unit, now[label] ** 2 / unit))
    return figure_spectra(panels, "eigenvalue / mean at the start")
