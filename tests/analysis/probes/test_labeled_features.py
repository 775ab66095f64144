"""Labels in every form, and splits that do not fit together."""

import numpy as np
import pytest
import torch

from analysis.probes.labeled_features import LabeledFeatures, check_splits
from analysis.probes.moments import FeatureBlocks

LABELS = np.arange(30) % 5


def _split(labels, rows=30, width=4):
    blocks = FeatureBlocks.from_array(torch.zeros(rows, width), layer="layer1")
    return LabeledFeatures(blocks, labels, labels)


@pytest.mark.parametrize("labels", [LABELS, LABELS.astype(float), np.eye(5)[LABELS]])
def test_every_form_of_labels_is_read(labels):
    found = _split(labels)
    np.testing.assert_array_equal(found.labels, LABELS)
    np.testing.assert_array_equal(found.network, LABELS)
    check_splits(found, found)


def test_unreadable_labels_and_wrong_lengths_are_refused():
    with pytest.raises(ValueError, match="layer1: 30 rows but 29 entries in labels"):
        _split(LABELS[:-1])
    with pytest.raises(ValueError, match="whole numbers"):
        _split(LABELS + 0.5)


def test_splits_that_do_not_fit_are_refused():
    good = _split(LABELS)
    with pytest.raises(ValueError, match="training width 3 and test width 4"):
        check_splits(_split(LABELS, width=3), good)
    with pytest.raises(ValueError, match=r"\[4\] are missing from layer1 training rows"):
        check_splits(_split(LABELS[LABELS != 4], rows=24), good)
    with pytest.raises(ValueError, match=r"\[4, 5, 6\] are missing from layer1 training rows"):  # gapped: 0..3, 7
        check_splits(_split(np.where(LABELS == 4, 7, LABELS)), good)
    with pytest.raises(ValueError, match="only one class"):
        check_splits(_split(LABELS * 0), _split(LABELS * 0))
