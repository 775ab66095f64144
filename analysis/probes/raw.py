"""k-NN, nearest class-center and linear SVM on all components of a layer, without any principal component.

"All components" is the centered raw feature, so where only that is needed (collapse by epoch, controls) the
decomposition can be left out: the same predictions at a fraction of the cost.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int

from analysis.probes.curves import knn_curve, ncc_curve
from analysis.probes.labeled_features import LabeledFeatures, check_splits
from analysis.probes.layer import ProbeSettings
from analysis.probes.linear_svm import fit_linear_svm
from analysis.probes.moments import checked_blocks


def probe_raw_features(
    train: LabeledFeatures, test: LabeledFeatures, *, settings: ProbeSettings
) -> dict[str, Int[np.ndarray, " m"]] | None:
    """Predict the test rows of one layer by each surrogate on its centered raw features.

    Parameters
    ----------
    train, test : LabeledFeatures
        Test rows only ever enter through predictions.
    settings : ProbeSettings
        Used: the first κ, the first cost, the scaling (whitening has no raw form: global is used), the tolerance.

    Returns
    -------
    dict of str to int16 ndarray, shape (m,), or None
        Predictions of knn, ncc and svm as `probe_layer` gives them; None for a constant layer.

    Raises
    ------
    ValueError
        As `probe_layer`.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from analysis.probes import FeatureBlocks, LabeledFeatures, ProbeSettings, probe_raw_features
    >>> labels = np.arange(60) % 2
    >>> rows = torch.tensor(labels)[:, None] * 4.0 + torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    >>> layer = LabeledFeatures(FeatureBlocks.from_array(rows), labels, network=labels)
    >>> found = probe_raw_features(layer, layer, settings=ProbeSettings(neighbors=(5,), costs=(0.1,)))
    >>> {name: float(np.mean(predicted == labels)) for name, predicted in found.items()}
    {'knn': 1.0, 'ncc': 1.0, 'svm': 1.0}
    """
    check_splits(train, test)
    rows, queries = (torch.cat(list(checked_blocks(split.features))).to(torch.float64) for split in (train, test))
    mean = rows.mean(dim=0)
    total = float((rows - mean).square().sum()) / len(rows)
    if total <= 1e-12 * float(mean.square().sum()):
        return None
    scaled, points = (rows - mean).to(torch.float32), (queries - mean).to(torch.float32)
    labels, width = torch.as_tensor(train.labels, device=scaled.device), [scaled.shape[1]]
    knn = knn_curve(scaled, labels, points, width, settings.neighbors[:1])[0, 0]
    ncc = ncc_curve(scaled, labels, points, width)[0]
    factor = 1.0 if settings.scaling == "none" else total**-0.5
    svm = fit_linear_svm(scaled * factor, labels, cost=settings.costs[0], tolerance=settings.tolerance)
    return {"knn": knn, "ncc": ncc, "svm": svm.predict(points * factor)}
