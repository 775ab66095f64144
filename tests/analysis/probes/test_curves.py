"""Curves over the number of components equal a separate fit at each k."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from analysis.probes.curves import component_grid, knn_curve, ncc_curve, ridge_curve
from analysis.probes.moments import FeatureBlocks
from analysis.probes.streaming_pca import fit_pca
from tests.references import layer_probes as reference

KS = [1, 2, 3, 5, 8, 12]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    centers = rng.standard_normal((4, 12))
    labels, test_labels = rng.integers(0, 4, 160), rng.integers(0, 4, 50)
    train = centers[labels] + 1.2 * rng.standard_normal((160, 12))
    test = centers[test_labels] + 1.2 * rng.standard_normal((50, 12))
    blocks = [FeatureBlocks.from_array(torch.from_numpy(x)) for x in (train, test)]
    pca = fit_pca(blocks[0], 12)
    z, q = (pca.scores(b, dtype=torch.float64) for b in blocks)
    return train, test, labels, z, q


def test_grid_grows_by_a_quarter_and_ends_at_the_limit():
    grid = component_grid(100)
    assert grid[:20] == list(range(1, 21)) and grid[-1] == 100 and grid[20] == 25
    assert component_grid(3) == [1, 2, 3]
    with pytest.raises(ValueError, match="at least one component"):
        component_grid(0)


@pytest.mark.parametrize("tile", [7, 1000])
def test_knn_at_every_k_and_every_neighborhood(data, tile):
    _, _, labels, z, q = data
    out = knn_curve(z, torch.as_tensor(labels), q, KS, [1, 4, 10], tile=tile)
    for i, count in enumerate([1, 4, 10]):
        for j, k in enumerate(KS):
            expected = reference.knn(z.numpy()[:, :k], labels, q.numpy()[:, :k], count)
            np.testing.assert_array_equal(out[i, j], expected)


def test_knn_leave_one_out(data):
    _, _, labels, z, _ = data
    out = knn_curve(z, torch.as_tensor(labels), z, [3], [5], exclude_self=True, tile=33)
    expected = reference.knn(z.numpy()[:, :3], labels, z.numpy()[:, :3], 5, exclude_self=True)
    np.testing.assert_array_equal(out[0, 0], expected)


def test_all_component_knn_and_ncc_equal_raw_ones(data):
    train, test, labels, z, q = data
    codes = torch.as_tensor(labels)
    oracle = KNeighborsClassifier(1).fit(train, labels).predict(test)
    np.testing.assert_array_equal(knn_curve(z, codes, q, [12], [1])[0, 0], oracle)
    np.testing.assert_array_equal(ncc_curve(z, codes, q, [12])[0], NearestCentroid().fit(train, labels).predict(test))


def test_tied_votes_go_to_the_class_with_the_nearest_member():
    train = torch.tensor([[1.0], [2.0], [3.0], [4.0]], dtype=torch.float64)
    labels = torch.tensor([2, 0, 0, 2])
    assert knn_curve(train, labels, torch.zeros(1, 1, dtype=torch.float64), [1], [4])[0, 0, 0] == 2


def test_ncc_curve_equals_a_fit_at_each_k(data):
    _, _, labels, z, q = data
    out = ncc_curve(z, torch.as_tensor(labels), q, list(range(1, 13)))
    for k in range(1, 13):
        np.testing.assert_array_equal(out[k - 1], reference.ncc(z.numpy()[:, :k], labels, q.numpy()[:, :k]))


@pytest.mark.parametrize("penalty", [0.0, 0.3])
def test_ridge_running_sum_equals_a_refit_at_each_k(data, penalty):
    _, _, labels, z, q = data
    out = ridge_curve(z, torch.as_tensor(labels), q, KS, penalty=penalty)
    for j, k in enumerate(KS):
        expected = reference.ridge(z.numpy()[:, :k], labels, q.numpy()[:, :k], penalty)
        np.testing.assert_array_equal(out[j], expected.argmax(1))


def test_ridge_refuses_columns_that_are_not_principal_scores(data):
    train, test, labels, _, _ = data
    with pytest.raises(ValueError, match="columns correlate"):
        ridge_curve(torch.from_numpy(train), torch.as_tensor(labels), torch.from_numpy(test), [3], penalty=0.1)


def test_bad_neighborhoods_and_grids_are_refused(data):
    _, _, labels, z, q = data
    codes = torch.as_tensor(labels)
    with pytest.raises(ValueError, match="161 neighbors, there are 160"):
        knn_curve(z, codes, q, [1], [161])
    with pytest.raises(ValueError, match="ascend within 1..12"):
        ncc_curve(z, codes, q, [3, 2])
    with pytest.raises(ValueError, match="ascend within 1..12"):
        knn_curve(z, codes, q, [13], [1])
