"""Labels and ids that would give wrong numbers silently are refused with their reason."""

import numpy as np
import pytest

from analysis.checks import check_every_class, class_labels, shared_points


def test_missing_classes_show_their_counts():
    with pytest.raises(ValueError, match=r"Classes \[2\] are missing from the test set \(counts"):
        check_every_class(np.arange(40) % 2, 3, "the test set")


@pytest.mark.parametrize("form", [np.asarray, lambda y: np.eye(2)[y], lambda y: y.astype(float), lambda y: y == 1])
def test_every_form_of_the_same_labels_is_the_same(form):
    y = np.random.default_rng(0).integers(0, 2, 30)
    np.testing.assert_array_equal(class_labels(form(y), 2), y)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 2.5], "whole numbers"),
        ([0, 1, 3], "1 of 3 labels are outside"),
        ([-1, 0, 1], "labels are outside"),
        ([[0.2, 0.8], [1, 0]], "1 of 2 label rows are not one-hot"),
        ([[1, 0], [0, 1]], "2 columns for 3 classes"),
        (["a", "b"], "numbers"),
        (np.zeros((2, 2, 2)), "shape"),
    ],
)
def test_bad_labels_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        class_labels(labels, 3)


def test_shared_and_duplicated_points_are_counted():
    positions, duplicates = shared_points(["a", "b", "b", "c"], ["x", "c", "b"])
    np.testing.assert_array_equal(positions, [1, 2])
    assert duplicates == 1
