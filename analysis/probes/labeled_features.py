"""Features of one layer with labels and the network's predictions, and what two splits of them must share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.checks import check_every_class, class_labels
from analysis.probes.moments import FeatureBlocks


@dataclass(frozen=True)
class LabeledFeatures:
    """Rows of one layer with their labels and the network's own predictions, row by row.

    Labels and predictions may be integers 0..C-1, whole-numbered floats or one-hot rows; gapped labels are
    refused because a class would be missing.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from analysis.probes import FeatureBlocks, LabeledFeatures
    >>> features = FeatureBlocks.from_array(torch.randn(4, 3))
    >>> rows = LabeledFeatures(features, labels=np.eye(2)[[0, 1, 1, 0]], network=np.array([0.0, 1.0, 0.0, 0.0]))
    >>> rows.labels.tolist(), rows.network.tolist()
    ([0, 1, 1, 0], [0, 1, 0, 0])
    """

    features: FeatureBlocks
    labels: np.ndarray
    network: np.ndarray

    def __post_init__(self) -> None:
        """Read both as integers and check that their lengths equal the number of rows."""
        for name in ("labels", "network"):
            codes = class_labels(getattr(self, name))
            if codes.shape != (self.features.rows,):
                raise ValueError(
                    f"{self.features.layer}: {self.features.rows} rows but {len(codes)} entries in {name}."
                )
            object.__setattr__(self, name, codes)


def check_splits(train: LabeledFeatures, test: LabeledFeatures) -> None:
    """Refuse splits of different widths, one class only, or training rows that lack a class."""
    layer = train.features.layer
    if train.features.width != test.features.width:
        raise ValueError(f"{layer}: training width {train.features.width} and test width {test.features.width} differ.")
    classes = int(max(train.labels.max(), test.labels.max())) + 1
    if classes < 2:
        raise ValueError(f"{layer}: only one class is present; there is nothing to separate.")
    check_every_class(train.labels, classes, f"{layer} training rows")
