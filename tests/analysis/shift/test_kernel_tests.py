"""Statistics by definition, invariances, group and stratum permutations, refusals."""

import numpy as np
import pytest

from analysis.shift.frechet import frechet_distance, frechet_test
from analysis.shift.kernel_tests import class_conditional, energy_test, mmd_test
from analysis.shift.pca_ks import pooled_pca_ks
from analysis.shift.permutation import (
    check_samples,
    domain_permutations,
    permutation_p,
)
from tests.references import two_sample as reference


def _rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture
def pair():
    rng = _rng()
    return rng.standard_normal((30, 6)), rng.standard_normal((25, 6)) + 0.4


def test_statistics_equal_their_definitions(pair):
    a, b = pair
    width = reference.median_distance(np.concatenate(pair))
    found = mmd_test(a, b, generator=_rng(), draws=9)
    assert found.detail["bandwidth"] == pytest.approx(width)
    assert found.statistic == pytest.approx(reference.mmd_squared(a, b, width), abs=1e-12)
    assert energy_test(a, b, generator=_rng(), draws=9).statistic == pytest.approx(reference.energy(a, b))
    assert frechet_distance(a, b) == pytest.approx(reference.frechet(a, b, 0.0))
    assert frechet_test(a, b, generator=_rng(), draws=9, shrinkage=0.2).statistic == pytest.approx(
        reference.frechet(a, b, 0.2)
    )


@pytest.mark.parametrize("test", [mmd_test, energy_test, frechet_test])
def test_permutation_values_equal_one_permutation_at_a_time(pair, test):
    a, b = pair
    member = domain_permutations((30, 25), 19, _rng(4))
    pooled = np.concatenate(pair)
    width = reference.median_distance(pooled)
    slow = {
        mmd_test: lambda x, y: reference.mmd_squared(x, y, width),
        energy_test: reference.energy,
        frechet_test: lambda x, y: reference.frechet(x, y, 0.1),
    }[test]
    values = np.array([slow(pooled[side], pooled[~side]) for side in member])
    options = {"shrinkage": 0.1} if test is frechet_test else {}
    assert test(a, b, generator=_rng(4), draws=19, **options).p_value == permutation_p(values)


@pytest.mark.parametrize("test", [mmd_test, energy_test, frechet_test])
def test_invariant_to_sides_row_order_and_rotation(pair, test):
    a, b = pair
    rotation = np.linalg.qr(_rng(1).standard_normal((6, 6)))[0]
    base = test(a, b, generator=_rng(), draws=4).statistic
    assert test(b, a, generator=_rng(), draws=4).statistic == pytest.approx(base, abs=1e-10)
    assert test(a[::-1], b[_rng(2).permutation(25)], generator=_rng(), draws=4).statistic == pytest.approx(
        base, abs=1e-10
    )
    assert test(a @ rotation, b @ rotation, generator=_rng(), draws=4).statistic == pytest.approx(base, abs=1e-10)


def test_tiles_do_not_change_the_answer(pair):
    a, b = pair
    one, other = (mmd_test(a, b, generator=_rng(), draws=49, block=size) for size in (7, 1000))
    assert one.statistic == pytest.approx(other.statistic, abs=1e-14) and one.p_value == other.p_value


def test_same_seed_same_p(pair):
    for test in (mmd_test, energy_test, frechet_test):
        p = [test(*pair, generator=_rng(7), draws=29).p_value for _ in range(2)]
        assert p[0] == p[1]


def test_mmd_has_mean_zero_under_the_null():
    rng = _rng(3)
    values = [
        mmd_test(
            rng.standard_normal((15, 3)), rng.standard_normal((12, 3)), generator=rng, draws=1, bandwidth=1.5
        ).statistic
        for _ in range(400)
    ]
    assert abs(np.mean(values)) < 3 * np.std(values) / 20


def test_a_large_offset_costs_no_digits(pair):
    a, b = pair
    base, moved = (mmd_test(a + c, b + c, generator=_rng(), draws=4).statistic for c in (0.0, 1e6))
    assert moved == pytest.approx(base, abs=1e-8)


def test_ignoring_groups_is_anticonservative_and_permuting_them_is_not():
    rng = _rng(5)
    plain, grouped = [], []
    for _ in range(60):
        centers = rng.standard_normal((12, 3)) * 2
        groups = np.repeat(np.arange(12), 6)
        rows = centers[groups] + 0.3 * rng.standard_normal((72, 3))
        a, b = rows[:36], rows[36:]
        plain.append(mmd_test(a, b, generator=rng, draws=39).p_value)
        grouped.append(mmd_test(a, b, generator=rng, draws=39, groups=groups).p_value)
    assert np.mean(np.array(plain) <= 0.05) > 0.5
    assert np.mean(np.array(grouped) <= 0.05) <= 0.15


def test_a_change_of_class_shares_alone_is_not_a_conditional_shift():
    rng = _rng(1)

    def draw(positive, negative):
        labels = np.repeat([1, 0], [positive, negative])
        return rng.standard_normal((len(labels), 4)) + 2.0 * labels[:, None], labels

    (a, y_a), (b, y_b) = draw(70, 30), draw(30, 70)
    strata = np.concatenate([y_a, y_b])
    assert mmd_test(a, b, generator=rng, draws=199).rejects()
    assert not mmd_test(a, b, generator=rng, draws=199, strata=strata).rejects()
    inside = class_conditional(mmd_test, a, b, (y_a, y_b), generator=rng, draws=199)
    assert set(inside) == {0, 1} and all(r.detail["holm_p"] > 0.05 for r in inside.values())
    inside = class_conditional(pooled_pca_ks_with_generator, a, b + 1.0, (y_a, y_b), generator=rng)
    assert all(r.detail["holm_p"] < 0.05 for r in inside.values())
    with pytest.raises(ValueError, match="class 1 has 70 and 0 rows"):
        class_conditional(mmd_test, a, b[y_b == 0], (y_a, y_b[y_b == 0]), generator=rng)


def pooled_pca_ks_with_generator(a, b, *, generator):
    return pooled_pca_ks(a, b, components=4)


def test_small_samples_keep_their_p_and_say_so():
    rng = _rng()
    found = mmd_test(rng.standard_normal((10, 3)), rng.standard_normal((40, 3)), generator=rng, draws=19)
    assert 0 < found.p_value <= 1 and "power is low" in found.notes[0]


def test_bad_samples_are_refused(pair):
    a, b = pair
    broken = b.copy()
    broken[[2, 9], 0] = np.nan
    for test in (mmd_test, energy_test, frechet_test):
        with pytest.raises(ValueError, match=r"sample B: rows \[2, 9\] hold NaN"):
            test(a, broken, generator=_rng())
    with pytest.raises(ValueError, match="widths 6 and 5"):
        check_samples(a, b[:, :5])
    with pytest.raises(ValueError, match="median distance between rows is zero"):
        mmd_test(np.ones((9, 2)), np.ones((9, 2)), generator=_rng())
    with pytest.raises(ValueError, match="bandwidth must be positive"):
        mmd_test(a, b, generator=_rng(), bandwidth=-1.0)
    with pytest.raises(ValueError, match="two rows a side"):
        mmd_test(a[:1], b, generator=_rng())
    with pytest.raises(ValueError, match="no domain label can move"):
        mmd_test(a, b, generator=_rng(), strata=np.repeat([0, 1], [30, 25]))
    with pytest.raises(ValueError, match="groups has 3 entries for 55 rows"):
        mmd_test(a, b, generator=_rng(), groups=np.arange(3))
