"""Many decisions on a page are adjusted together; a claim on a family asks every member."""

import numpy as np
import pytest

from analysis.verdicts import FAILS, HOLDS, OPEN, Decided, above, adjusted, all_hold, any_holds, holm


def test_holm_steps_down():
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]).tolist() == [1.0, 1.0]
    assert holm([]).size == 0


def test_a_single_small_p_among_many_is_not_enough():
    study = [Decided(HOLDS, "a", 0.02, 0.98)] + [Decided(OPEN, "b", 0.5, 0.5)] * 4
    found = adjusted(study)
    assert found[0].outcome == OPEN and found[0].p == 0.02 and found[0].p_adjusted == pytest.approx(0.1)
    assert [one.outcome for one in adjusted(study[:1])] == [HOLDS]
    against = adjusted([Decided(FAILS, "a", 0.98, 0.02)] + [Decided(OPEN, "b", 0.5, 0.5)] * 4)
    assert against[0].outcome == OPEN
    assert adjusted([Decided(HOLDS, "identity"), *study])[0].outcome == HOLDS


def test_a_study_of_true_nulls_claims_nothing():
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(300):
        study = [above(row, 0.0, margin=1e-9, what="x") for row in rng.normal(size=(12, 5)).tolist()]
        wrong += any(one.outcome != OPEN for one in adjusted(study))
    assert wrong / 300 < 0.1  # 5 % for "holds" and 5 % for "fails"


def test_a_claim_on_every_layer_is_not_decided_by_the_extreme_of_noise():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):
        layers = {
            str(i): above(row, 0.0, margin=0.5, what="x") for i, row in enumerate(rng.normal(size=(9, 5)).tolist())
        }
        found.append(all_hold(layers, "layers").outcome)
    assert found.count(FAILS) / 200 <= 0.05 and found.count(HOLDS) == 0


def test_a_claim_on_every_layer_holds_where_all_do_and_names_the_weakest():
    clear = {str(i): above([1.0, 1.1, 0.9, 1.05, 0.95], 0.0, margin=0.1, what="lead") for i in range(4)}
    assert all_hold(clear, "layers").outcome == HOLDS
    mixed = clear | {"early": above([0.2, -0.1, 0.3, 0.1, 0.0], 0.0, margin=0.1, what="lead")}
    found = all_hold(mixed, "layers")
    assert found.outcome == OPEN and "weakest, early" in found.evidence
    refuted = clear | {"late": above([-1.0, -1.1, -0.9, -1.05, -0.95], 0.0, margin=0.1, what="lead")}
    assert all_hold(refuted, "layers").outcome == FAILS
    assert all_hold({}, "layers").outcome == OPEN
    short = clear | {"new": above([1.0], 0.0, margin=0.1, what="lead")}
    assert all_hold(short, "layers").outcome == OPEN and "weakest, new" in all_hold(short, "layers").evidence


def test_one_member_of_many_counts_only_after_the_adjustment():
    weak, strong, no = (Decided(OPEN, "x", p, 1 - p) for p in (0.01, 0.001, 0.6))
    assert any_holds({"a": weak, **{str(i): no for i in range(9)}}, "layers").outcome == OPEN, "10 looks at 1 %"
    found = any_holds({"a": strong, **{str(i): no for i in range(9)}}, "layers")
    assert found.outcome == HOLDS and found.p == pytest.approx(0.01) and "best, a" in found.evidence
    against = Decided(FAILS, "x", 0.999, 0.001)
    assert any_holds({"a": against, "b": against}, "layers").outcome == FAILS
    assert any_holds({"a": against, "b": no}, "layers").outcome == OPEN
    assert any_holds({}, "layers").outcome == OPEN
