"""Galleries show errors of the network and as many classes as there are."""

import numpy as np

from pipeline.stages.attribution.gallery import gallery_points


def test_a_gallery_shows_errors_first_and_every_class_before_any_twice():
    labels = np.repeat(np.arange(4), 10)
    right = np.ones(40, bool)
    right[[0, 1, 2, 11]] = False
    shown = gallery_points(labels, right, 6)
    assert shown[:3].tolist() == [0, 11, 1], "errors of two classes before two of one"
    assert labels[shown[3:]].tolist() == [2, 3, 1], "then classes that no error has, then the rarer one"
    assert right[shown[3:]].all()


def test_a_gallery_without_errors_is_full_and_one_of_few_points_is_short():
    assert gallery_points(np.arange(9) % 3, np.ones(9, bool), 6).tolist() == [0, 1, 2, 3, 4, 5]
    assert gallery_points(np.array([0, 0]), np.array([False, True]), 6).tolist() == [0, 1]
